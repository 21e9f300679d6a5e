"""The eight rows of the paper's Table 1, each as a curriculum.

All of them train the same model with the same `fit` and answer with the same
`generate`. They differ in what a stage hides and what replaces it
(arXiv 2412.06769, sections 4.2 and 4.4).
"""

import dataclasses
from typing import Any, Literal, get_args

from keras_coconut.checks import check_choice, check_count, check_instance
from keras_coconut.curriculum import MOST_COUNT, MOST_STAGES, Curriculum

Method = Literal[
    "coconut",
    "cot",
    "no_cot",
    "icot",
    "pause",
    "no_curriculum",
    "no_thought",
    "pause_as_thought",
]
METHODS: tuple[str, ...] = get_args(Method)


def method_curriculum(
    method: Method,
    curriculum: Curriculum,
    *,
    tokens_per_stage: int = 8,
    chain_tokens: int = 64,
) -> Curriculum:
    """Returns the curriculum of a row of the paper's Table 1.

    | method | what it trains |
    | --- | --- |
    | `"coconut"` | the given curriculum |
    | `"cot"` | the whole chain of thought, then the answer |
    | `"no_cot"` | the question, then the answer |
    | `"icot"` | the chain removed token by token from the front, no thoughts |
    | `"pause"` | pause tokens, then the answer; no chain, no curriculum |
    | `"no_curriculum"` | the last stage, from the first epoch on |
    | `"no_thought"` | the curriculum, with nothing in place of the steps |
    | `"pause_as_thought"` | the curriculum, with pauses in place of thoughts |

    Args:
        method: one of the above.
        curriculum: the `Curriculum` of the Coconut row.
        tokens_per_stage: int. For iCoT, the number of tokens that each epoch
            removes (8 in its own recipe). Defaults to `8`.
        chain_tokens: int. For iCoT, the number of tokens removed gradually; the
            rest of the chain is then removed at once. Defaults to `64`.

    Returns:
        A `Curriculum`.

    Raises:
        ValueError: If the method is unknown (the error lists the known ones),
            if `curriculum` is not a `Curriculum`, or if a count is out of
            range.

    Example:
    ```python
    coconut = keras_coconut.Curriculum(max_stage=6, epochs_per_stage=5)
    pause = keras_coconut.method_curriculum("pause", coconut)
    pause.stage(0)  # 7, the last stage
    ```
    """
    check_choice("method", method, METHODS)
    check_instance(
        "curriculum", curriculum, Curriculum, "a `keras_coconut.Curriculum`"
    )
    tokens_per_stage = check_count(
        "tokens_per_stage", tokens_per_stage, 1, MOST_COUNT
    )
    chain_tokens = check_count(
        "chain_tokens", chain_tokens, most=MOST_STAGES * tokens_per_stage
    )
    together = dict(one_thought_at_a_time=False)
    at_once = dict(
        initial_epochs=0, epochs_per_stage=0, mixing_probability=0.0, **together
    )
    no_thought = dict(thoughts_per_step=0, **together)
    without_thoughts = dict(mixing_probability=0.0, **no_thought)
    changes: dict[str, dict[str, Any]] = {
        "coconut": {},
        "cot": dict(
            max_stage=0,
            extra_stage=False,
            initial_epochs=None,
            epochs_per_stage=1,
            **without_thoughts,
        ),
        "no_cot": dict(
            max_stage=0,
            extra_stage=True,
            initial_epochs=0,
            epochs_per_stage=1,
            **without_thoughts,
        ),
        "icot": dict(
            max_stage=-(-chain_tokens // tokens_per_stage),
            extra_stage=True,
            initial_epochs=1,
            epochs_per_stage=1,
            tokens_per_stage=tokens_per_stage,
            removal_smoothing=4.0,
            **without_thoughts,
        ),
        "pause": dict(extra_stage=True, thought_kind="pause", **at_once),
        "no_curriculum": at_once,
        "no_thought": no_thought,
        "pause_as_thought": dict(thought_kind="pause"),
    }
    return dataclasses.replace(curriculum, **changes[method])
