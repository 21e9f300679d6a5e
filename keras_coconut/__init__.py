"""Coconut, Chain of Continuous Thought, for Keras 3."""

from keras_coconut.curriculum import Curriculum
from keras_coconut.methods import method_curriculum
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, read_problems, write_problems
from keras_coconut.text.marker_tokens import add_thought_tokens
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.training.curriculum_dataset import CurriculumDataset
from keras_coconut.training.curriculum_scheduler import CurriculumScheduler
from keras_coconut.training.distribution import distribute
from keras_coconut.training.resumable_training import ResumableTraining

__version__ = "0.1.0"

__all__ = [
    "ContinuousThoughtLM",
    "ContinuousThoughtPreprocessor",
    "Curriculum",
    "CurriculumDataset",
    "CurriculumScheduler",
    "Problem",
    "ResumableTraining",
    "add_thought_tokens",
    "distribute",
    "method_curriculum",
    "read_problems",
    "write_problems",
]
