"""Coconut, Chain of Continuous Thought, for Keras 3."""

from typing import TYPE_CHECKING

from keras_coconut.versions import __version__ as __version__
from keras_coconut.versions import check_versions

check_versions()

from keras_coconut import datasets
from keras_coconut.analysis import (
    CounterfactualEdge,
    CounterfactualEdges,
    CounterfactualEvaluation,
    DecodedToken,
    EarlyStop,
    ForcedThoughts,
    FrontierMass,
    GroupMeans,
    HeightValue,
    MassShare,
    Measurements,
    MinimalPair,
    MinimalPairEvaluation,
    MinimalPairs,
    Parallelism,
    PooledMean,
    SearchTree,
    SlotGeometry,
    StepProbe,
    StepText,
    Superposition,
    ThoughtBudget,
    ThoughtGeometry,
    ThoughtProbes,
    ThoughtSwap,
    TreeLevel,
    VectorGeometry,
    decode_thoughts,
    effective_rank,
    evaluate_counterfactuals,
    evaluate_minimal_pairs,
    make_counterfactuals,
    make_minimal_pairs,
    plot_controls,
    plot_counterfactuals,
    plot_frontier_mass,
    plot_geometry,
    plot_groups,
    plot_minimal_pairs,
    plot_parallelism,
    plot_probes,
    plot_search_tree,
    plot_stages,
    plot_thought_budget,
    plot_tokens,
    search_tree,
    superposition,
    thought_budget,
    thought_geometry,
    thought_probes,
)
from keras_coconut.curriculum import Curriculum, Layout
from keras_coconut.datasets import (
    Splits,
    arithmetic_words,
    load_arithmetic,
    make_arithmetic,
    read_gsm8k,
    write_gsm8k,
)
from keras_coconut.evaluation import (
    AnswerAccuracy,
    Evaluation,
    Interval,
    McNemar,
    SampledEvaluation,
    Share,
    classify_response,
    evaluate_controls,
    evaluate_problems,
    evaluate_reasoning,
    evaluate_samples,
    extract_answer,
    holm,
    majority_vote,
    mcnemar,
    mean_interval,
    pass_at_k,
    replace_thoughts,
    share_interval,
)
from keras_coconut.methods import method_curriculum
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.published_model import (
    read_published_model,
    write_published_model,
)
from keras_coconut.models.thought_reader import ThoughtStates
from keras_coconut.problems import (
    Problem,
    read_problems,
    stream_problems,
    write_problems,
)
from keras_coconut.report import ReportCard, Section, Verdict, report_card
from keras_coconut.text.marker_tokens import add_thought_tokens
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.text.word_tokenizer import make_word_tokenizer, problem_words
from keras_coconut.training.curriculum_dataset import CurriculumDataset
from keras_coconut.training.curriculum_scheduler import CurriculumScheduler
from keras_coconut.training.distribution import Devices, distribute
from keras_coconut.training.health_monitor import (
    HealthMonitor,
    TrainingTroubleError,
)
from keras_coconut.training.resumable_training import ResumableTraining

if TYPE_CHECKING:
    from keras_coconut.datasets import (
        load_dataset,
        load_gsm8k,
        load_prontoqa,
        load_prosqa,
        symbolic_words,
    )
else:

    def __getattr__(name):
        if name not in datasets.LATER:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}"
            )
        return getattr(datasets, name)


__all__ = [
    "AnswerAccuracy",
    "ContinuousThoughtLM",
    "ContinuousThoughtPreprocessor",
    "CounterfactualEdge",
    "CounterfactualEdges",
    "CounterfactualEvaluation",
    "Curriculum",
    "CurriculumDataset",
    "CurriculumScheduler",
    "DecodedToken",
    "Devices",
    "EarlyStop",
    "Evaluation",
    "ForcedThoughts",
    "FrontierMass",
    "GroupMeans",
    "HealthMonitor",
    "HeightValue",
    "Interval",
    "Layout",
    "MassShare",
    "McNemar",
    "Measurements",
    "MinimalPair",
    "MinimalPairEvaluation",
    "MinimalPairs",
    "Parallelism",
    "PooledMean",
    "Problem",
    "ReportCard",
    "ResumableTraining",
    "SampledEvaluation",
    "SearchTree",
    "Section",
    "Share",
    "SlotGeometry",
    "Splits",
    "StepProbe",
    "StepText",
    "Superposition",
    "ThoughtBudget",
    "ThoughtGeometry",
    "ThoughtProbes",
    "ThoughtStates",
    "ThoughtSwap",
    "TrainingTroubleError",
    "TreeLevel",
    "VectorGeometry",
    "Verdict",
    "add_thought_tokens",
    "arithmetic_words",
    "classify_response",
    "decode_thoughts",
    "distribute",
    "effective_rank",
    "evaluate_controls",
    "evaluate_counterfactuals",
    "evaluate_minimal_pairs",
    "evaluate_problems",
    "evaluate_reasoning",
    "evaluate_samples",
    "extract_answer",
    "holm",
    "load_arithmetic",
    "load_dataset",
    "load_gsm8k",
    "load_prontoqa",
    "load_prosqa",
    "majority_vote",
    "make_arithmetic",
    "make_counterfactuals",
    "make_minimal_pairs",
    "make_word_tokenizer",
    "mcnemar",
    "mean_interval",
    "method_curriculum",
    "pass_at_k",
    "plot_controls",
    "plot_counterfactuals",
    "plot_frontier_mass",
    "plot_geometry",
    "plot_groups",
    "plot_minimal_pairs",
    "plot_parallelism",
    "plot_probes",
    "plot_search_tree",
    "plot_stages",
    "plot_thought_budget",
    "plot_tokens",
    "problem_words",
    "read_gsm8k",
    "read_problems",
    "read_published_model",
    "replace_thoughts",
    "report_card",
    "search_tree",
    "share_interval",
    "stream_problems",
    "superposition",
    "symbolic_words",
    "thought_budget",
    "thought_geometry",
    "thought_probes",
    "write_gsm8k",
    "write_problems",
    "write_published_model",
]


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
