"""Evaluation: a model answers problems, and its answers are compared."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping

from numpy.typing import ArrayLike

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_path,
    check_verbose,
)
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    judge,
    normalize_answer,
)
from keras_coconut.evaluation.journal import (
    InUse,
    Journal,
    journal_path,
    remove_left,
)
from keras_coconut.evaluation.made_by import array_hash, describe
from keras_coconut.evaluation.request import Request, check_request
from keras_coconut.evaluation.results_file import read_results, write_results
from keras_coconut.evaluation.unfinished import Memory, explain
from keras_coconut.files import check_writable, shown_path
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.generation_settings import stop_tokens
from keras_coconut.models.sampling import is_random_sampler
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress, current
from keras_coconut.text.arrays import Counts
from keras_coconut.text.questions import check_thoughts

__all__ = [
    "Evaluation",
    "evaluate_problems",
    "extract_answer",
    "normalize_answer",
]


def evaluate_problems(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Counts | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: Verbose = "auto",
    thoughts: ArrayLike | None = None,
    results_path: PathLike | None = None,
) -> Evaluation:
    """Generates a response to each problem and compares its answer.

    Every argument is checked before anything is generated.

    With `results_path` the figures are written to a file. Later calls read that
    file instead of generating again, if the problems, weights, text layout,
    sampler and arguments are the same; the batch size may differ. If the file
    was made by something else, an error says what differs.

    Ctrl-C, or the stop button of a notebook, raises `KeyboardInterrupt` as
    usual, and the finished responses are kept. The next call with the same
    problems, weights and arguments generates only the missing ones; the batch
    size may differ, for example after an error for want of memory. The figures
    equal those of an uninterrupted call; `seconds` counts the work of both. The
    attribute `partial` of the error holds the `Evaluation` of the problems
    answered so far, and `answered` their indices.

    With `results_path` each response is written, as soon as it is finished, to
    a journal: `results_path` with the ending `.partial`, which also outlasts
    the process. Without it this process keeps them. While one call uses the
    journal, another call with the same `results_path` warns, keeps no journal
    and writes its results at the end.

    With `results_path`, a random sampler must have a seed, and the state of
    that seed must be the one with which the file was made: each call advances
    it, and `compile` with a new sampler resets it. Such a sampler gets no
    journal, because the batches decide what it draws. After an interruption,
    compile with a new sampler and evaluate from the start.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least one.
        num_thoughts: int, or one int for each problem. Defaults to the model's
            `num_thoughts`.
        max_length: int. Maximum number of tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        verbose: `"auto"`, 0, 1 or 2. 0 is silent; 1 and `"auto"` show how many
            problems are answered and the time left; 2 prints one line at the
            end. Defaults to `"auto"`.
        thoughts: float array (problems, K, D). Thoughts to use in place of the
            model's own; see `generate`. Optional.
        results_path: string or path-like. A JSON file for the figures and the
            predictions, in a folder that exists. Optional.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are no problems, if one does not fit the model, if
            an argument is invalid, or if the file at `results_path` is damaged
            or holds other results.
        OSError: If `results_path` cannot be written.

    Example:
    ```python
    found = keras_coconut.evaluate_problems(
        model, problems, num_thoughts=6, results_path="results.json"
    )
    found.accuracy, found.predictions[0]
    ```
    """
    verbose = check_verbose(verbose)
    request = check_request(
        model, problems, num_thoughts, max_length, batch_size
    )
    if thoughts is not None:
        array = check_thoughts(model, thoughts, request.counts)
        request = dataclasses.replace(
            request, make_thoughts=lambda: array, thoughts=array_hash(array)
        )
    if results_path is not None:
        results_path = check_path("results_path", results_path)
    return answer(request, "evaluate", verbose, results_path)


def answer(
    request: Request, name: str, verbose: int, results_path: str | None = None
) -> Evaluation:
    """Answers a request, or reads the answer of an equal one from its file.

    Args:
        request: a `Request`.
        name: string. What the progress line calls the work.
        verbose: int. See `evaluate_problems`.
        results_path: string. See `evaluate_problems`. Optional.
    """
    if request.make_thoughts is not None and request.thoughts is None:
        # Results are kept with what they were made by.
        array = request.make_thoughts()
        request = dataclasses.replace(
            request, make_thoughts=lambda: array, thoughts=array_hash(array)
        )
    repeats = not is_random_sampler(request.model.sampler)
    if results_path is None:
        memory = _remember(request, repeats)
        return _evaluate(request, name, verbose, memory)
    made_by = describe(request)
    if os.path.exists(results_path):
        separator = request.model.preprocessor.separator
        found = read_results(results_path, made_by, request.problems, separator)
        remove_left(journal_path(results_path))
        whole = current()
        if whole is not None:
            whole.skip(len(request.problems))
        return found
    check_writable("results_path", results_path)
    journal: Journal | Memory | None = None
    if repeats:
        count = len(request.problems)
        journal = open_journal(request, results_path, made_by, count)
    journal = journal or _remember(request, repeats)
    with contextlib.closing(journal) as kept:
        found = _evaluate(request, name, verbose, kept)
        write_results(results_path, made_by, found)
        kept.remove()
    return found


def _remember(request, repeats):
    """Returns the memory of a request; `repeats` if its responses do."""

    def describe_with(weights):
        about = describe(request, weights)
        return {**about, "skipped": request.skipped}

    return Memory(request.model, describe_with if repeats else None)


def open_journal(
    request: Request, results_path: str, made_by: Mapping, num_responses: int
) -> Journal | None:
    """Returns the journal of a results file; `None` if it is in use.

    Args:
        request: a `Request`.
        results_path: string. The results file, which does not exist yet.
        made_by: dictionary. What the results depend on; see `describe`.
        num_responses: int. The number of responses to come.
    """
    try:
        return Journal(
            check_writable("results_path", journal_path(results_path)),
            made_by,
            num_responses,
            request.model.backbone.vocabulary_size,
        )
    except InUse:
        warnings.warn(
            "`results_path` is being evaluated by another call, which has the "
            "journal: this one keeps none, and an interruption loses its "
            f"responses. Received: results_path={shown_path(results_path)!r}",
            stacklevel=4,
        )
        return None


def _evaluate(request, name, verbose, journal):
    """Returns the evaluation of a request, continued from a journal."""
    known, count = dict(journal.responses), len(request.problems)
    with Progress(name, count, verbose) as line:
        journal.belongs_to(line)
        line.skip(len(known))
        try:
            thoughts = None
            if request.make_thoughts is not None and len(known) < count:
                # Not part of the time that the answers take.
                thoughts = request.make_thoughts()
            with journal:
                _generate(request, line, thoughts, known, journal.add)
        except KeyboardInterrupt as error:
            rows, partial = sorted(journal.responses), None
            if rows:
                partial = _figures(request, rows, journal)
            explain(error, line, journal, partial, rows)
            raise
    return _figures(request, range(count), journal)


def _figures(request, rows, journal) -> Evaluation:
    """Returns the evaluation of the problems that have their responses."""
    preprocessor = request.model.preprocessor
    ends = stop_tokens(preprocessor.tokenizer)
    generated = [journal.responses[row] for row in rows]
    tokens = sum(len(ids) - (ids[-1] in ends) for ids in generated)
    if request.model.thought_kind == "continuous":
        tokens += sum(request.counts[row] for row in rows)
    responses = tuple(preprocessor.generate_postprocess(generated))
    problems = [request.problems[row] for row in rows]
    return Evaluation(
        tokens_generated=tokens / len(problems),
        seconds=journal.seconds / len(problems),
        predictions=responses,
        **judge(problems, responses, preprocessor.separator),
    )


def _generate(request, line, thoughts, known, write_down):
    """Generates all responses but those that are known."""
    questions = request.questions
    rows = [row for row in range(len(questions)) if row not in known]
    if not rows:
        return
    given = {}
    if request.skipped is not None:
        given["skipped_positions"] = [request.skipped[row] for row in rows]
    if request.response_start:
        given["response_start"] = request.response_start

    def on_response(index, tokens):
        write_down(rows[index], tokens)
        line.add()

    request.model.generate_tokens(
        [questions[row] for row in rows],
        max_length=request.max_length,
        num_thoughts=[request.counts[row] for row in rows],
        batch_size=request.batch_size,
        verbose=0,
        thoughts=None if thoughts is None else thoughts[rows],
        on_response=on_response,
        **given,
    )
