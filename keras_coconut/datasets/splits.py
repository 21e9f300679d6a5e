"""Problems for training, validation and test; no problem is in two splits."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator

import keras

from keras_coconut.checks import check_count, check_verbose, refuse, shown
from keras_coconut.problems import Problem, as_problems, content_hash

# Draws in a row that only repeat what is there, before giving up.
_MOST_REPEATS = 1_000


@dataclasses.dataclass(frozen=True)
class Splits:
    """The three splits of a dataset.

    Args:
        train, validation, test: iterables of `Problem`s, or of mappings with
            the keys `question`, `steps` and `answer`. Each may be empty.

    Raises:
        ValueError: If a question is in two splits or twice in one, or if a
            split holds anything but problems.

    Example:
    ```python
    splits = keras_coconut.load_dataset(
        "prosqa", train=1_000, validation=100, test=100
    )
    splits.train[0].question
    splits.content_hash  # The same for the same problems in the same order.
    ```
    """

    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    test: tuple[Problem, ...]

    def __post_init__(self):
        where: dict[str, str] = {}
        for name, problems in self.items():
            problems = tuple(as_problems(name, problems, empty=True))
            object.__setattr__(self, name, problems)
            for index, problem in enumerate(problems):
                place = f"{name}[{index}]"
                other = where.setdefault(problem.question, place)
                if other != place:
                    raise ValueError(
                        "no question may be in two splits or twice in one. "
                        f"Received one in `{other}` and `{place}`: "
                        f"{shown(problem.question)}"
                    )

    def items(self) -> list[tuple[str, tuple[Problem, ...]]]:
        """Returns `(name, problems)` for each split."""
        return [
            (field.name, getattr(self, field.name))
            for field in dataclasses.fields(self)
        ]

    @property
    def content_hash(self) -> str:
        """A hash of all problems, their order and their splits."""
        hashes = [content_hash(problems) for _, problems in self.items()]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


def draw_splits(
    draws: Iterator[Problem],
    train: int,
    validation: int,
    test: int,
    verbose: int = 0,
) -> Splits:
    """Takes problems from a generator, and none twice.

    Args:
        draws: endless iterator of `Problem`s.
        train, validation, test: ints, the sizes of the splits. Test problems
            are drawn first, so that they do not change with the others' sizes,
            then those for validation.
        verbose: 0 or 1. Whether to show a progress bar. Defaults to `0`.

    Raises:
        ValueError: If a size is negative or not whole, or if the generator
            repeats itself or ends before there are enough problems.
    """
    sizes = check_sizes(train, validation, test)
    verbose = check_verbose(verbose)
    if not isinstance(draws, Iterator):
        raise refuse("draws", "an iterator of `Problem`s", draws)
    needed = sum(sizes.values())
    distinct: dict[str, Problem] = {}
    repeats = 0
    progress = keras.utils.Progbar(needed, verbose=verbose, unit_name="problem")
    while len(distinct) < needed:
        problem = next(draws, None)
        if not isinstance(problem, Problem):
            raise ValueError(
                f"`draws` must give {shown(needed)} distinct problems. "
                f"Received {shown(problem)} after {len(distinct)} of them"
            )
        if problem.question in distinct:
            repeats += 1
            if repeats == _MOST_REPEATS:
                raise ValueError(
                    f"`train`, `validation` and `test` must be fewer than the "
                    "distinct problems that these arguments give. Received: "
                    f"{shown(sizes)}, {shown(needed)} together, after "
                    f"{len(distinct)} of "
                    f"which {_MOST_REPEATS} draws in a row were repeats"
                )
            continue
        repeats = 0
        distinct[problem.question] = problem
        if len(distinct) % 100 == 0 or len(distinct) == needed:
            progress.update(len(distinct))
    return _cut(list(distinct.values()), sizes)


def take_splits(
    make: Callable[[int], list[Problem]], train: int, validation: int, test: int
) -> Splits:
    """Cuts a list of distinct problems, which `make` returns for a number."""
    sizes = check_sizes(train, validation, test)
    return _cut(make(sum(sizes.values())), sizes)


def check_sizes(train, validation, test) -> dict[str, int]:
    """Returns the sizes of the splits by name.

    Raises:
        ValueError: If one is negative or not whole; names it.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    return {name: check_count(name, size) for name, size in sizes.items()}


def _cut(problems, sizes) -> Splits:
    validation, test = sizes["validation"], sizes["test"]
    return Splits(
        test=problems[:test],
        validation=problems[test : test + validation],
        train=problems[test + validation :],
    )
