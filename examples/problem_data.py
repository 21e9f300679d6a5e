"""What `train_on_problems.py` reads: problems and words."""

import dataclasses
import itertools
import os
import pathlib

from command_line import blame
from problem_flags import AUTO, FLAGS

from keras_coconut import (
    Problem,
    problem_words,
    read_problems,
    stream_problems,
)

# Problems whose words `--words=auto` takes.
_PROBLEMS_READ = 10_000


@dataclasses.dataclass
class ProblemFiles:
    """The problems of the flags.

    Args:
        problems: to train on: a list, or a path with `--token_cache`.
        validation: answered after each epoch, or `None`.
        test: answered in the end.
        asked: string, the flag that the last ones come from.
    """

    problems: list[Problem] | str
    validation: list[Problem] | None
    test: list[Problem]
    asked: str


def read_files():
    """Returns a `ProblemFiles`."""
    problems = FLAGS.problems
    if not FLAGS.token_cache:
        problems = read_problem_file("problems")
    asked = "test" if FLAGS.test else "problems"
    return ProblemFiles(
        problems,
        read_problem_file("validation") if FLAGS.validation else None,
        read_problem_file("test") if FLAGS.test else problems,
        asked,
    )


def read_problem_file(flag):
    """Returns the problems of a file flag, the first `--limit` of them."""
    with blame(f"--{flag}"):
        return read_problems(FLAGS[flag].value)[: FLAGS.limit]


def read_words():
    """Returns the words of `--words`, each with the spaces that it has."""
    value = FLAGS.words
    with blame("--words"):
        if value == AUTO:
            problems = stream_problems(FLAGS.problems)
            most = FLAGS.limit or _PROBLEMS_READ
            return problem_words(itertools.islice(problems, most))
        words = value.split(",")
        if os.path.isfile(value):
            text = pathlib.Path(value).read_text(encoding="utf-8-sig")
            words = text.splitlines()
        words = [word for word in words if word.strip()]
        if not words:
            raise ValueError(f"expected at least one word. Received: {value!r}")
        return words
