"""Writes a report card: `python -m keras_coconut.report MODEL PROBLEMS`.

KERAS_BACKEND chooses the backend. What is wrong with the arguments is said in
one line, before a model is loaded.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from keras_coconut.files import shown_path
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import read_problems
from keras_coconut.report.card import check_files, report_card

# The most characters of an error that are repeated.
_SHOWN = 600


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command.

    Args:
        arguments: sequence of strings. Defaults to those of the process.

    Raises:
        SystemExit: If an argument is wrong, with one line that says so.
    """
    parser = _make_parser()
    given = parser.parse_args(arguments)
    if not os.path.exists(given.problems):
        parser.error(
            "PROBLEMS must be a problem file that exists. Received: "
            f"{shown_path(given.problems)}"
        )
    try:
        files = check_files(given.output)
    except (ValueError, OSError) as error:
        parser.error(_one_line("--output", error))
    for path in files:
        if os.path.exists(path) and not given.overwrite:
            parser.error(
                "--output must be a new file, and so must the .json file "
                "beside it; --overwrite replaces them. Received: "
                f"{shown_path(path)}, which exists"
            )
    try:
        _run(given)
    except (ValueError, OSError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {_one_line('', error)}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


def _run(given: argparse.Namespace) -> None:
    problems = read_problems(given.problems)[: given.limit]
    load = ContinuousThoughtLM.from_preset
    card = report_card(
        load(given.model),
        problems,
        None if given.control is None else load(given.control),
        num_thoughts=given.num_thoughts,
        sample_size=given.sample_size,
        num_pairs=given.num_pairs,
        max_length=given.max_length,
        batch_size=given.batch_size,
        seed=given.seed,
        path=given.output,
    )
    for verdict in card.verdicts:
        print(f"\n{verdict.question} {verdict.outcome}.\n{verdict.text}")
    print()
    for name, section in card.sections.items():
        if section.left_out is not None:
            print(f"left out: {name}: {section.left_out}")
    print(f"\nwritten: {', '.join(check_files(given.output))}")


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="keras_coconut.report",
        description="Measures what a model's thoughts do. Writes an HTML page, "
        "and a JSON file beside it.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="preset folder or handle"
    )
    parser.add_argument(
        "problems", metavar="PROBLEMS", help="problem file: JSON, CSV, Parquet"
    )
    parser.add_argument(
        "--control",
        metavar="MODEL",
        help="preset of a control model, such as one that pauses",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="report.html",
        help="the page to write (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that exist"
    )
    for name, default, least, text in (
        ("num_thoughts", None, 0, "thoughts for each problem"),
        ("limit", None, 2, "problems to read, from the first on"),
        ("sample_size", 200, 2, "problems of the costly parts"),
        ("num_pairs", 200, 1, "counterfactual edges or minimal pairs"),
        ("max_length", None, 1, "maximum number of tokens in a response"),
        ("batch_size", 32, 1, "problems in a batch"),
        ("seed", 0, 0, "seed of all that is drawn"),
    ):
        parser.add_argument(
            f"--{name}",
            metavar="N",
            type=_count(least),
            default=default,
            help=f"{text} (default: {_default(name, default)})",
        )
    return parser


def _default(name, default) -> str:
    if default is not None:
        return str(default)
    return {"num_thoughts": "the model's", "limit": "all"}.get(
        name, "the model's"
    )


def _count(least: int) -> Callable[[str], int]:
    """Returns a function that reads a whole number of at least `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}. Received: {text}"
            )
        return number

    return read


def _one_line(name: str, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 3] + "..."
    return f"{name}: {text}" if name else text


if __name__ == "__main__":
    main()
