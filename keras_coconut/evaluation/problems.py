"""How well a model answers problems: accuracy, chains, tokens, seconds."""

import dataclasses
import time
from collections.abc import Sequence

from keras_coconut.problems import Problem


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate_problems` found.

    Attributes:
        accuracy: float. Share of problems whose answer is right.
        chain_match: float. Share of problems whose generated steps are the
            reference steps.
        tokens_generated: float. Tokens for each problem, thoughts counted as
            one each, the end of text not counted.
        seconds: float. For each problem.
        predictions: the responses, in the problems' order.
    """

    accuracy: float
    chain_match: float
    tokens_generated: float
    seconds: float
    predictions: tuple[str, ...]


def evaluate_problems(
    model,
    problems: Sequence[Problem],
    num_thoughts: int | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: int = 0,
) -> Evaluation:
    """Generates a response to each problem and compares it.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: sequence of `Problem`s, at least one.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        max_length: int. The most tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.

    Returns:
        An `Evaluation`.

    Example:
    ```python
    evaluate_problems(model, problems, num_thoughts=6).accuracy
    ```
    """
    if num_thoughts is None:
        num_thoughts = model.num_thoughts
    start = time.perf_counter()
    generated = model.generate_tokens(
        [problem.question for problem in problems],
        max_length=max_length,
        num_thoughts=num_thoughts,
        batch_size=batch_size,
        verbose=verbose,
    )
    seconds = time.perf_counter() - start
    end = model.preprocessor.tokenizer.end_token_id
    tokens = sum(num_thoughts + len(ids) - (end in ids) for ids in generated)
    responses = model.preprocessor.generate_postprocess(generated)
    right = chains = 0
    for problem, response in zip(problems, responses):
        right += extract_answer(response) == _normalize(problem.answer)
        chains += extract_steps(response) == list(problem.steps)
    count = len(problems)
    return Evaluation(
        accuracy=right / count,
        chain_match=chains / count,
        tokens_generated=tokens / count,
        seconds=seconds / count,
        predictions=tuple(responses),
    )


def extract_answer(response: str) -> str:
    """Returns what follows the last `#`, without commas and outer spaces."""
    return _normalize(response.rsplit("#", 1)[-1])


def extract_steps(response: str) -> list[str]:
    """Returns the lines before the answer's."""
    lines = response.split("\n")
    return [line for line in lines if line and not line.startswith("###")]


def _normalize(answer: str) -> str:
    return answer.replace(",", "").strip()
