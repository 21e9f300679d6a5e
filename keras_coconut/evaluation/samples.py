"""Several responses to each problem: votes, and pass@k."""

import collections
import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_number,
    check_path,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.evaluation.figures import extract_answer, normalize_answer
from keras_coconut.evaluation.journal import journal_path, remove_left
from keras_coconut.evaluation.made_by import describe
from keras_coconut.evaluation.problems import open_journal
from keras_coconut.evaluation.request import check_request
from keras_coconut.evaluation.results_file import (
    damaged,
    read_entry,
    write_results,
)
from keras_coconut.evaluation.unfinished import Memory, explain
from keras_coconut.files import check_writable
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.generation import generate_tokens
from keras_coconut.models.generation_settings import Settings, stop_tokens
from keras_coconut.models.sampling import Draws
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress, current
from keras_coconut.text.arrays import Counts


@dataclasses.dataclass(frozen=True)
class SampledEvaluation:
    """The result of `evaluate_samples`.

    Attributes:
        num_samples: int. Number of responses to each problem.
        accuracy: float. Fraction of all responses whose answer is correct.
        majority_accuracy: float. Fraction of problems whose most frequent
            answer is correct.
        pass_at_k: dictionary from an int k to a float: the probability that at
            least one of k responses is correct, averaged over the problems.
        tokens_generated: float. Mean number of tokens per response; see
            `Evaluation`.
        seconds: float. Mean time per response.
        predictions: tuple of tuples of strings. The responses to each problem.
        correct: tuple of tuples of bools. Whether their answers are correct.
        votes: tuple of strings. The most frequent answer to each problem.

    Example:
    ```python
    found = keras_coconut.evaluate_samples(
        model, problems, num_samples=4, thought_noise=0.1
    )
    found.pass_at_k[4], found.votes
    ```
    """

    num_samples: int
    accuracy: float
    majority_accuracy: float
    pass_at_k: Mapping[int, float]
    tokens_generated: float
    seconds: float
    predictions: tuple[tuple[str, ...], ...]
    correct: tuple[tuple[bool, ...], ...]
    votes: tuple[str, ...]

    def to_dict(self) -> dict:
        """Returns a dictionary that JSON can hold."""
        return dataclasses.asdict(self)


def evaluate_samples(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_samples: int,
    ks: Sequence[int] | None = None,
    num_thoughts: Counts | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int | None = None,
    thought_noise: float = 0.0,
    thought_dropout: bool = False,
    verbose: Verbose = "auto",
    results_path: PathLike | None = None,
) -> SampledEvaluation:
    """Generates several responses to each problem and compares their answers.

    Every argument is checked before anything is generated.

    After Ctrl-C the finished responses are kept, as in `evaluate_problems`, and
    an equal call generates the missing ones. With a `seed` they are those of an
    uninterrupted call; without one, the rest is drawn with another seed. The
    attribute `partial` of the `KeyboardInterrupt` holds the `SampledEvaluation`
    of the problems with all of their responses, and `answered` their indices.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s or of mappings, at least one.
        num_samples: int. Number of responses to each problem.
        ks: list of ints from 1 to `num_samples`, the values of k for pass@k.
            Defaults to the powers of two in this range, and `num_samples`.
        num_thoughts, max_length, verbose: see `evaluate_problems`.
        batch_size: int. Number of responses in a batch. Defaults to `32`.
        seed, thought_noise, thought_dropout: see
            `ContinuousThoughtLM.generate`.
        results_path: string or path-like. A JSON file for the figures and the
            predictions, in a folder that exists; see `evaluate_problems`. Needs
            a `seed`. Only `ks` may differ from those of the file. Optional.

    Returns:
        A `SampledEvaluation`.

    Raises:
        ValueError: If a problem does not fit the model, if an argument is
            invalid, if nothing is random, so that all samples would be equal,
            or if the file at `results_path` is damaged or holds other results.
        OSError: If `results_path` cannot be written.

    Example:
    ```python
    found = keras_coconut.evaluate_samples(
        model, problems, num_samples=4, thought_noise=0.1, seed=0
    )
    found.majority_accuracy, found.pass_at_k[4]
    ```
    """
    verbose = check_verbose(verbose)
    num_samples = check_count("num_samples", num_samples, least=1)
    ks = _check_ks(ks, num_samples)
    request = check_request(
        model, problems, num_thoughts, max_length, batch_size
    )
    draws = Draws(num_samples, seed, thought_noise, thought_dropout)
    draws = draws.check(model, thoughts_given=False)
    draws.check_counts(model, request.counts)
    if results_path is not None:
        results_path = check_path("results_path", results_path)
        if seed is None:
            raise refuse(
                "seed",
                "a whole number beside `results_path`: without it the results "
                "cannot be made again",
                seed,
            )
        made_by = describe(request, draws=draws)
        if os.path.exists(results_path):
            found = _read(results_path, made_by, request.problems, ks)
            remove_left(journal_path(results_path))
            whole = current()
            if whole is not None:
                whole.skip(len(request.problems) * num_samples)
            return found
        check_writable("results_path", results_path)
    if results_path is None:
        memory = _remember(request, draws)
        return _evaluate(request, draws, ks, verbose, memory)
    count = len(request.problems) * num_samples
    journal = open_journal(request, results_path, made_by, count)
    with contextlib.closing(journal or _remember(request, draws)) as kept:
        found = _evaluate(request, draws, ks, verbose, kept)
        write_results(results_path, made_by, found)
        kept.remove()
    return found


def _remember(request, draws):
    return Memory(
        request.model, lambda weights: describe(request, weights, draws)
    )


def _evaluate(request, draws, ks, verbose, journal):
    """Returns the evaluation of a request, continued from a journal."""
    every = range(len(request.problems))
    total = len(every) * draws.copies
    with Progress("sample", total, verbose, "responses") as line:
        journal.belongs_to(line)
        line.skip(len(journal.responses))
        try:
            with journal:
                _generate(request, draws, journal, line)
        except KeyboardInterrupt as error:
            rows = [
                row
                for row in every
                if all(n in journal.responses for n in _numbers(row, draws))
            ]
            partial = _figures(request, draws, ks, rows, journal)
            explain(error, line, journal, partial, rows)
            raise
    return _figures(request, draws, ks, every, journal)


def _generate(request, draws, journal, line):
    """Generates the responses that a journal does not hold."""
    settings = Settings(
        request.max_length,
        batch_size=request.batch_size,
        draws=draws,
        on_response=lambda *_: line.add(),
        journal=journal,
    )
    generate_tokens(
        request.model, request.questions, request.counts, None, settings
    )


def _numbers(row, draws):
    """Returns the numbers of the responses to a problem."""
    return range(row * draws.copies, (row + 1) * draws.copies)


def _figures(request, draws, ks, rows, journal):
    """Returns the evaluation of some problems, or `None` for none."""
    if not rows:
        return None
    preprocessor = request.model.preprocessor
    ends = stop_tokens(preprocessor.tokenizer)
    generated = [
        [journal.responses[number] for number in _numbers(row, draws)]
        for row in rows
    ]
    tokens = sum(len(ids) - (ids[-1] in ends) for of in generated for ids in of)
    if request.model.thought_kind == "continuous":
        tokens += sum(request.counts[row] for row in rows) * draws.copies
    count = len(rows) * draws.copies
    predictions = [preprocessor.generate_postprocess(ids) for ids in generated]
    return SampledEvaluation(
        tokens_generated=tokens / count,
        seconds=journal.seconds / max(len(journal.responses), 1),
        **_judge([request.problems[row] for row in rows], predictions, ks),
    )


def _judge(problems, predictions, ks) -> dict:
    """Returns the figures that follow from the responses to each problem."""
    predictions = tuple(tuple(responses) for responses in predictions)
    num_samples = len(predictions[0])
    answers = [normalize_answer(problem.answer) for problem in problems]
    correct = tuple(
        tuple(extract_answer(response) == answer for response in responses)
        for responses, answer in zip(predictions, answers)
    )
    votes = tuple(map(majority_vote, predictions))
    right = [vote == answer for vote, answer in zip(votes, answers)]
    return {
        "num_samples": num_samples,
        "accuracy": sum(map(sum, correct)) / (len(problems) * num_samples),
        "majority_accuracy": sum(right) / len(right),
        "pass_at_k": {
            k: math.fsum(pass_at_k(num_samples, sum(of), k) for of in correct)
            / len(correct)
            for k in ks
        },
        "predictions": predictions,
        "correct": correct,
        "votes": votes,
    }


def _read(path, made_by, problems, ks):
    """Reads an evaluation that was made by the same things.

    Raises:
        ValueError: If the file is damaged, or if it was made by something else.
    """
    entry = read_entry(path, made_by)
    names = {field.name for field in dataclasses.fields(SampledEvaluation)}
    if set(entry) != names:
        raise damaged(path, "it does not hold the expected keys")
    num_samples = made_by["draws"]["num_samples"]
    predictions = entry["predictions"]
    if not isinstance(predictions, list) or len(predictions) != len(problems):
        raise damaged(path, "it does not hold predictions for each problem")
    for responses in predictions:
        if (
            not isinstance(responses, list)
            or len(responses) != num_samples
            or not all(isinstance(response, str) for response in responses)
        ):
            raise damaged(path, "`predictions` are not lists of responses")
    numbers = {}
    for name in ("tokens_generated", "seconds"):
        try:
            numbers[name] = check_number(name, entry[name], least=0)
        except ValueError as error:
            raise damaged(path, str(error)) from error
    figures: dict = {**_judge(problems, predictions, ks), **numbers}
    found = SampledEvaluation(**figures)
    # Other values of k may be asked for than were written.
    as_read = json.loads(json.dumps(found.to_dict()))
    for name, value in as_read.items():
        if name != "pass_at_k" and entry[name] != value:
            raise damaged(path, f"`{name}` does not follow from `predictions`")
    return found


def majority_vote(responses: Sequence[str]) -> str:
    """Returns the most frequent answer among responses to one question.

    The answer in a response is that of `extract_answer`. If several answers are
    equally frequent, the first one wins. An empty answer wins only if there is
    no other.

    Args:
        responses: sequence of strings, at least one.

    Raises:
        ValueError: If there are no responses, or if one is not a string.

    Example:
    ```python
    keras_coconut.majority_vote(["### 3", "1 + 1 = 2### 2", "### 3"])  # "3"
    ```
    """
    if isinstance(responses, str) or not isinstance(responses, Sequence):
        raise refuse("responses", "a list of strings", responses)
    if not responses:
        raise refuse("responses", "a list of at least one string", responses)
    for index, response in enumerate(responses):
        if not isinstance(response, str):
            raise refuse(f"responses[{index}]", "a string", response)
    answers = [extract_answer(response) for response in responses]
    given = [answer for answer in answers if answer]
    # Of equal counts the one that came first.
    return collections.Counter(given or answers).most_common(1)[0][0]


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Returns the probability that at least one of k responses is correct.

    This is the unbiased estimate from `num_samples` responses: one minus the
    fraction of subsets of k responses that hold no correct one (Chen et al.,
    2021, arXiv 2107.03374, section 2.1).

    Args:
        num_samples: int. Number of responses to the question, at least 1.
        num_correct: int. Number of correct ones among them.
        k: int from 1 to `num_samples`.

    Raises:
        ValueError: If a count is invalid.

    Example:
    ```python
    keras_coconut.pass_at_k(num_samples=4, num_correct=1, k=2)  # 0.5
    ```
    """
    num_samples = check_count("num_samples", num_samples, least=1)
    num_correct = check_count("num_correct", num_correct, most=num_samples)
    k = check_count("k", k, least=1, most=num_samples)
    wrong = num_samples - num_correct
    return 1 - math.comb(wrong, k) / math.comb(num_samples, k)


def _check_ks(ks, num_samples) -> list[int]:
    if ks is None:
        powers = {2**n for n in range(num_samples.bit_length())}
        return sorted({*powers, num_samples})
    if isinstance(ks, str | Mapping) or not isinstance(ks, Iterable):
        raise refuse("ks", "a list of whole numbers", ks)
    ks = [
        check_count(f"ks[{index}]", k, least=1, most=num_samples)
        for index, k in enumerate(ks)
    ]
    if not ks:
        raise ValueError(f"`ks` must hold at least one. Received: {shown(ks)}")
    return sorted(set(ks))
