"""How well a model answers problems: accuracy, chains, tokens, seconds."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_coconut.files import write_whole
from keras_coconut.problems import Problem, content_hash


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate_problems` found.

    Attributes:
        accuracy: float. Share of problems whose answer is right.
        chain_match: float. Share of problems whose generated steps are the
            reference steps.
        tokens_generated: float. Tokens for each problem, continuous thoughts
            counted as one each, pauses and the end of text not counted.
        seconds: float. For each problem.
        predictions: the responses, in the problems' order.
        correct: for each problem, whether its answer is right.
    """

    accuracy: float
    chain_match: float
    tokens_generated: float
    seconds: float
    predictions: tuple[str, ...]
    correct: tuple[bool, ...]

    def to_dict(self) -> dict:
        """Returns what `from_dict` takes, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, entry) -> "Evaluation":
        """Makes an evaluation from the dictionary that was read."""
        return cls(
            **{
                **entry,
                "predictions": tuple(entry["predictions"]),
                "correct": tuple(entry["correct"]),
            }
        )


def evaluate_problems(
    model,
    problems: Sequence[Problem],
    num_thoughts: int | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: int = 0,
    thoughts=None,
    results_path=None,
) -> Evaluation:
    """Generates a response to each problem and compares it.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: sequence of `Problem`s, at least one.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        max_length: int. The most tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.
        thoughts: float array (problems, K, D), given thoughts; see `generate`.
            Optional.
        results_path: string or path-like, a JSON file for the figures and the
            predictions. If it is there already, made by the same weights on the
            same problems, it is read and nothing is generated. Optional.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are no problems, or if the file at `results_path`
            holds the results of something else.

    Example:
    ```python
    found = evaluate_problems(
        model, problems, num_thoughts=6, results_path="results.json"
    )
    found.accuracy, found.predictions[0]
    ```
    """
    problems = list(problems)
    if not problems:
        raise ValueError(
            "`problems` must hold at least one problem. Received: none"
        )
    if num_thoughts is None:
        num_thoughts = model.num_thoughts
    made_by = None
    if results_path is not None:
        made_by = {
            "problems": content_hash(problems),
            "weights": weights_hash(model),
            "thoughts": None if thoughts is None else _hash([thoughts]),
            "num_thoughts": num_thoughts,
            "max_length": max_length,
        }
        found = _read_results(results_path, made_by)
        if found is not None:
            return found
    start = time.perf_counter()
    generated = model.generate_tokens(
        [problem.question for problem in problems],
        max_length=max_length,
        num_thoughts=num_thoughts,
        batch_size=batch_size,
        verbose=verbose,
        thoughts=thoughts,
    )
    seconds = time.perf_counter() - start
    end = model.preprocessor.tokenizer.end_token_id
    counted = num_thoughts if model.thought_kind == "continuous" else 0
    tokens = sum(counted + len(ids) - (end in ids) for ids in generated)
    responses = model.preprocessor.generate_postprocess(generated)
    correct = tuple(
        extract_answer(response) == normalize_answer(problem.answer)
        for problem, response in zip(problems, responses)
    )
    separator = model.preprocessor.separator
    chains = sum(
        response.partition("###")[0]
        == "".join(step + separator for step in problem.steps)
        for problem, response in zip(problems, responses)
    )
    count = len(problems)
    found = Evaluation(
        accuracy=sum(correct) / count,
        chain_match=chains / count,
        tokens_generated=tokens / count,
        seconds=seconds / count,
        predictions=tuple(responses),
        correct=correct,
    )
    if results_path is not None:
        text = json.dumps({"made_by": made_by, **found.to_dict()}, indent=1)
        write_whole(results_path, text + "\n")
    return found


def _read_results(path, made_by):
    """Returns the evaluation in a file, or `None` if there is no file."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        entry = json.load(file)
    others = entry.pop("made_by", {})
    wrong = [key for key in made_by if others.get(key) != made_by[key]]
    if wrong:
        raise ValueError(
            f"`results_path` must name a new file or results of the same "
            f"{wrong[0]}. Received: {os.fspath(path)!r}, made with "
            f"{wrong[0]}={others.get(wrong[0])!r} and not {made_by[wrong[0]]!r}"
        )
    return Evaluation.from_dict(entry)


def weights_hash(model) -> str:
    """Returns a hash of a model's weights."""
    return _hash(ops.convert_to_numpy(w) for w in model.weights)


def _hash(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def extract_answer(response: str) -> str:
    """Returns what follows the last `#`, without commas and outer spaces."""
    return normalize_answer(response.rsplit("#", 1)[-1])


def normalize_answer(answer: str) -> str:
    """Returns an answer as answers are compared."""
    return answer.replace(",", "").strip()
