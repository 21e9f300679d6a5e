"""Evaluation: a model answers problems, and its answers are compared."""

import contextlib
import dataclasses
import os
import time
import warnings
from collections.abc import Iterable, Sequence

from keras_coconut.checks import check_path, check_verbose
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    judge,
    normalize_answer,
)
from keras_coconut.evaluation.journal import InUse, Journal
from keras_coconut.evaluation.made_by import array_hash, describe, is_random
from keras_coconut.evaluation.request import Request, check_request
from keras_coconut.evaluation.results_file import read_results, write_results
from keras_coconut.files import check_writable, shown_path
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress
from keras_coconut.text.questions import check_thoughts

__all__ = [
    "Evaluation",
    "evaluate_problems",
    "extract_answer",
    "normalize_answer",
]


def evaluate_problems(
    model,
    problems: Iterable[Problem],
    num_thoughts: int | Sequence[int] | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose="auto",
    thoughts=None,
    results_path=None,
) -> Evaluation:
    """Generates a response to each problem and compares it.

    Every argument is checked before anything is generated.

    With `results_path` the figures are kept in a file, and read from it instead
    of being generated again. They are read only if they were made by the same
    problems, weights, text layout, sampler and arguments; the batch size need
    not be the same. Finished responses are written to a journal beside the
    file, `results_path` with `.partial` behind it. After an interruption
    (Ctrl-C raises `KeyboardInterrupt` as usual) the next call generates what is
    missing, and its figures are those of an uninterrupted call; `seconds`
    counts the work of both. Without `results_path` an interruption loses the
    finished responses. While one call has the journal, another one for the same
    `results_path` does without: it warns, and writes its results at the end.

    A sampler that draws random numbers must have a seed for `results_path`, and
    the state of its seed must be the one with which the file was made: each
    call moves it on, and `compile` with a new sampler resets it. No journal is
    kept for such a sampler, since what it draws depends on the batches: after
    an interruption, compile with a new sampler and evaluate from the start.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least one.
        num_thoughts: int, or one int for each problem. Defaults to the model's
            `num_thoughts`.
        max_length: int. The most tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        verbose: `"auto"`, 0, 1 or 2. 0 is silent; 1 and `"auto"` show how many
            problems are answered and the time left; 2 prints one line at the
            end. Defaults to `"auto"`.
        thoughts: float array (problems, K, D), given thoughts; see `generate`.
            Optional.
        results_path: string or path-like. A JSON file for the figures and the
            predictions, in a folder that exists. Optional.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there are no problems, if one does not fit the model, if
            an argument is not one of these, or if the file at `results_path`
            is damaged or holds the results of something else.
        OSError: If `results_path` cannot be written.

    Example:
    ```python
    found = evaluate_problems(
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
    if results_path is None:
        return _evaluate(request, name, verbose)
    made_by = describe(request)
    if os.path.exists(results_path):
        separator = request.model.preprocessor.separator
        return read_results(results_path, made_by, request.problems, separator)
    check_writable("results_path", results_path)
    with contextlib.ExitStack() as stack:
        journal = None
        if not is_random(request.model.sampler):
            journal = _open_journal(request, results_path, made_by)
        if journal is not None:
            stack.callback(journal.close)
        found = _evaluate(request, name, verbose, journal)
        write_results(results_path, made_by, found)
        if journal is not None:
            journal.remove()
    return found


def _open_journal(request, results_path, made_by):
    """Returns the journal of a results file; `None` if it is in use."""
    try:
        return Journal(
            check_writable("results_path", results_path + ".partial"),
            made_by,
            len(request.problems),
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


def _evaluate(request, name, verbose, journal=None):
    """Returns the evaluation of a request; goes on from a journal."""
    known = {} if journal is None else dict(journal.responses)
    thoughts = None
    if request.make_thoughts is not None and len(known) < len(request.problems):
        # Not part of the time that the answers take.
        thoughts = request.make_thoughts()
    if journal is None:
        start = time.perf_counter()
        generated = _generate(request, name, verbose, thoughts, known)
        seconds = time.perf_counter() - start
    else:
        with journal:
            generated = _generate(
                request, name, verbose, thoughts, known, journal.add
            )
        seconds = journal.seconds
    preprocessor = request.model.preprocessor
    end = preprocessor.tokenizer.end_token_id
    tokens = sum(len(ids) - (end in ids) for ids in generated)
    if request.model.thought_kind == "continuous":
        tokens += sum(request.counts)
    responses = tuple(preprocessor.generate_postprocess(generated))
    count = len(request.problems)
    return Evaluation(
        tokens_generated=tokens / count,
        seconds=seconds / count,
        predictions=responses,
        **judge(request.problems, responses, preprocessor.separator),
    )


def _generate(request, name, verbose, thoughts, known, write_down=None):
    """Returns the token ids of all responses, given those that are known."""
    questions = request.questions
    rows = [row for row in range(len(questions)) if row not in known]
    generated = []
    if rows:
        with Progress(
            name, len(questions), verbose, done=len(known)
        ) as progress:

            def on_response(index, tokens):
                if write_down is not None:
                    write_down(rows[index], tokens)
                progress.add()

            generated = request.model.generate_tokens(
                [questions[row] for row in rows],
                max_length=request.max_length,
                num_thoughts=[request.counts[row] for row in rows],
                batch_size=request.batch_size,
                verbose=0,
                thoughts=None if thoughts is None else thoughts[rows],
                on_response=on_response,
            )
    responses = {**known, **dict(zip(rows, generated))}
    return [responses[row] for row in range(len(questions))]
