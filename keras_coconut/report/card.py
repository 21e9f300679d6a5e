"""The report card: what a model's thoughts do, measured and said in words."""

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from keras_coconut.analysis.plain import to_plain
from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_installed,
    check_path,
    check_verbose,
    refuse,
)
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.files import check_writable, write_whole
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress, say
from keras_coconut.report import conclusions, page, parts, words
from keras_coconut.report.findings import Findings
from keras_coconut.report.inputs import Inputs, Part, draw
from keras_coconut.report.sections import Section
from keras_coconut.versions import __version__


@dataclasses.dataclass(frozen=True)
class ReportCard(Findings):
    """The result of `report_card`.

    Attributes:
        verdicts: tuple of `Verdict`s, the answers in words.
        sections: dictionary of `Section`s by their names, with the results
            that the verdicts rest on. One that does not apply says why.
        model: dictionary that describes the model.
        control: dictionary that describes the control model, or `None`.
        num_problems: int.
        num_thoughts: int.
        problems: tuple of the `Problem`s of the costly parts.

    Example:
    ```python
    card = keras_coconut.report_card(model, problems)
    card.verdicts[0].outcome, card.sections["geometry"].seconds
    card.to_dict()["sections"]["answers"]["result"]["model"]["accuracy"]
    ```
    """

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON, without the problems."""
        plain = {
            field.name: to_plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name != "problems"
        }
        return {"keras_coconut": __version__, **plain}

    def save(self, path: PathLike) -> None:
        """Writes an HTML page, and the figures as JSON beside it.

        The page needs no other file and no network. Files of these names are
        replaced. Needs matplotlib.

        Args:
            path: string or path-like. A file that ends in `.html`. The other
                one ends in `.json` instead.

        Raises:
            ValueError: If `path` is not such a path.
            OSError: If a file cannot be written.
            ImportError: If matplotlib is not installed.

        Example:
        ```python
        card = keras_coconut.report_card(model, problems)
        card.save("report.html")  # And report.json.
        ```
        """
        written, figures = check_files(path)
        text = page.render(self)
        entry = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_whole(figures, entry + "\n")
        write_whole(written, text)


def report_card(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    control: ContinuousThoughtLM | None = None,
    *,
    num_thoughts: int | None = None,
    sample_size: int = 200,
    num_pairs: int = 200,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    verbose: Verbose = "auto",
    path: PathLike | None = None,
) -> ReportCard:
    """Measures what a model's thoughts do, and says it in words.

    It answers whether the thoughts carry the answer, what they hold, how many
    are needed, at what cost, and whether a control model shows the same. All
    problems are answered, with the model's own thoughts and with each control
    of `evaluate_controls`. All else is measured on a sample: forced numbers of
    thoughts, geometry, probes; for problems with graphs search tree,
    superposition and counterfactual edges; for arithmetic minimal pairs. What
    does not apply is listed with the reason.

    After an interruption, `partial` of the `KeyboardInterrupt` holds the
    finished sections, and an equal call goes on with the finished responses;
    see `evaluate_problems`.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least two.
        control: a `ContinuousThoughtLM` that gets the same problems, such as
            one trained with pauses in place of thoughts. Optional.
        num_thoughts: int. Defaults to the model's `num_thoughts`, also for the
            control.
        sample_size: int, at least 2. The number of problems of the costly
            parts, drawn from all. Defaults to `200`.
        num_pairs: int. The most counterfactual edges or minimal pairs. Defaults
            to `200`.
        max_length, batch_size: see `evaluate_problems`.
        seed: int. Seed of all that is drawn. Defaults to `0`.
        verbose: `"auto"`, 0, 1 or 2. One progress line is shown for all parts,
            then what each has taken. Defaults to `"auto"`.
        path: string or path-like. Where to save the page; see
            `ReportCard.save`. Optional.

    Returns:
        A `ReportCard`.

    Raises:
        ValueError: If there are fewer than two problems, if one does not fit a
            model, or if an argument is invalid.
        OSError: If `path` cannot be written.
        ImportError: If SciPy or threadpoolctl is not installed; with `path`,
            also matplotlib.

    Example:
    ```python
    card = keras_coconut.report_card(model, problems, path="report.html")
    for verdict in card.verdicts:
        print(f"{verdict.question} {verdict.outcome}. {verdict.text}")
    ```
    """
    inputs = _check(
        model,
        problems,
        control,
        num_thoughts,
        (sample_size, num_pairs, max_length, batch_size, seed, verbose),
    )
    check_installed("report_card", "scipy", "threadpoolctl")
    if path is not None:
        check_files(path)
        check_installed("report_card", "matplotlib")
    planned = parts.plan(inputs)
    sections = _measure(planned, inputs.verbose)
    if inputs.verbose:
        _say_costs(sections)
    card = ReportCard(
        conclusions.draw(
            inputs.model, inputs.control, inputs.num_thoughts, sections
        ),
        sections,
        _describe(inputs.model),
        None if inputs.control is None else _describe(inputs.control),
        len(inputs.problems),
        inputs.num_thoughts,
        tuple(inputs.sampled),
    )
    if path is not None:
        card.save(path)
    return card


def _check(model, problems, control, num_thoughts, others) -> Inputs:
    sample_size, num_pairs, max_length, batch_size, seed, verbose = others
    verbose = check_verbose(verbose)
    seed = check_count("seed", seed)
    sample_size = check_count("sample_size", sample_size, least=2)
    num_pairs = check_count("num_pairs", num_pairs, least=1)
    if num_thoughts is not None:
        num_thoughts = check_count("num_thoughts", num_thoughts)
    problems = as_problems("problems", problems)
    if len(problems) < 2:
        raise ValueError(
            "`problems` must hold at least two problems, so that one can get "
            f"the thoughts of another. Received: {len(problems)}"
        )
    request = check_request(
        model, problems, num_thoughts, max_length, batch_size
    )
    count = request.counts[0]
    if control is not None:
        control = check_model(control, "control")
        check_request(control, problems, count, max_length, batch_size)
    return Inputs(
        request.model,
        control,
        problems,
        draw(len(problems), sample_size, seed),
        count,
        num_pairs,
        request.max_length,
        request.batch_size,
        seed,
        verbose,
    )


def _measure(planned, verbose) -> dict[str, Section]:
    """Measures each part that applies, under one progress line."""
    found: dict[str, Section] = {}
    total = sum(part.units for part in planned)
    expected = 0
    with Progress(
        "report card", total, verbose, "answers", steady=True
    ) as progress:
        for part in planned:
            if part.left_out is not None:
                found[part.name] = Section(part.name, left_out=part.left_out)
                continue
            expected += part.units
            with part_of(found, part.name):
                found[part.name] = _run(part)
            # Decoding counts nothing itself.
            progress.add(max(0, expected - progress.done))
    return found


def _run(part: Part) -> Section:
    assert part.run is not None  # It applies.
    start = time.perf_counter()
    try:
        result = part.run()
    except ValueError as error:
        if part.name not in parts.OF_SOME:
            raise
        # Such as a graph whose edges the question does not write out.
        return Section(part.name, left_out=" ".join(str(error).split()))
    seconds = time.perf_counter() - start
    return Section(part.name, result, part.size, seconds)


def _say_costs(sections) -> None:
    costs = [
        f"{name} {words.seconds(section.seconds)}"
        for name, section in sections.items()
        if section.left_out is None
    ]
    say(f"report card took: {', '.join(costs)}")


def _describe(model: ContinuousThoughtLM) -> dict[str, Any]:
    backbone = model.backbone
    return {
        "name": model.name,
        "backbone": type(backbone).__name__,
        "parameters": int(backbone.count_params()),
        "layers": len(backbone.transformer_layers),
        "hidden_dim": int(backbone.hidden_dim),
        "thought_kind": model.thought_kind,
        "num_thoughts": model.num_thoughts,
    }


def check_files(path) -> tuple[str, str]:
    """Returns the page and the JSON file beside it, which can be written.

    Args:
        path: string or path-like, the page.
    """
    path = check_path("path", path)
    stem, ending = os.path.splitext(path)
    if ending.lower() != ".html":
        raise refuse("path", "a file name that ends in .html", path)
    return check_writable("path", path), check_writable("path", f"{stem}.json")
