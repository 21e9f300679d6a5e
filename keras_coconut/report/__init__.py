"""The report card: what a model's thoughts do, on one page and in words."""

from keras_coconut.report.card import ReportCard, report_card
from keras_coconut.report.sections import Section
from keras_coconut.report.verdicts import Verdict

__all__ = ["ReportCard", "Section", "Verdict", "report_card"]


def __dir__() -> list[str]:
    return sorted(__all__)
