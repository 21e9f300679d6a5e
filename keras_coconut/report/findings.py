"""All that a report says, before it is written."""

import dataclasses
from typing import Any

from keras_coconut.problems import Problem
from keras_coconut.report.sections import Section
from keras_coconut.report.verdicts import Verdict


@dataclasses.dataclass(frozen=True)
class Findings:
    """The attributes of a `ReportCard`, which says what they are."""

    verdicts: tuple[Verdict, ...]
    sections: dict[str, Section]
    model: dict[str, Any]
    control: dict[str, Any] | None
    num_problems: int
    num_thoughts: int
    problems: tuple[Problem, ...] = dataclasses.field(repr=False)
