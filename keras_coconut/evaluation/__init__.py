"""Evaluation: how well a model answers, and whether its thoughts matter."""

from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.controls import (
    CONTROLS,
    evaluate_controls,
    replace_thoughts,
)
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.evaluation.reasoning_paths import (
    CLASSES,
    classify_response,
    evaluate_reasoning,
)
from keras_coconut.evaluation.samples import (
    SampledEvaluation,
    evaluate_samples,
    majority_vote,
    pass_at_k,
)
from keras_coconut.evaluation.statistics import (
    Interval,
    McNemar,
    Share,
    holm,
    mcnemar,
    mean_interval,
    share_interval,
)

__all__ = [
    "CLASSES",
    "CONTROLS",
    "AnswerAccuracy",
    "Evaluation",
    "Interval",
    "McNemar",
    "SampledEvaluation",
    "Share",
    "classify_response",
    "evaluate_controls",
    "evaluate_problems",
    "evaluate_reasoning",
    "evaluate_samples",
    "extract_answer",
    "holm",
    "majority_vote",
    "mcnemar",
    "mean_interval",
    "normalize_answer",
    "pass_at_k",
    "replace_thoughts",
    "share_interval",
]


def __dir__() -> list[str]:
    return sorted(__all__)
