"""What a user types: the names, their signatures and their types."""

import importlib.resources
import inspect
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import keras_coconut
from keras_coconut import analysis, datasets, evaluation, report

NAMES = [
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
PACKAGES = (analysis, datasets, evaluation, report)
# What nobody needs for a model: imported by the functions that do.
LATER = (
    "matplotlib",
    "pandas",
    "scipy",
    "tensorflow_datasets",
    "threadpoolctl",
)

# Results, which nobody else makes.
RESULTS = (
    keras_coconut.CounterfactualEdge,
    keras_coconut.CounterfactualEdges,
    keras_coconut.CounterfactualEvaluation,
    keras_coconut.DecodedToken,
    keras_coconut.Devices,
    keras_coconut.EarlyStop,
    keras_coconut.Evaluation,
    keras_coconut.ForcedThoughts,
    keras_coconut.FrontierMass,
    keras_coconut.GroupMeans,
    keras_coconut.HeightValue,
    keras_coconut.Interval,
    keras_coconut.Layout,
    keras_coconut.MassShare,
    keras_coconut.McNemar,
    keras_coconut.MinimalPair,
    keras_coconut.MinimalPairEvaluation,
    keras_coconut.MinimalPairs,
    keras_coconut.Parallelism,
    keras_coconut.PooledMean,
    keras_coconut.ReportCard,
    keras_coconut.SampledEvaluation,
    keras_coconut.SearchTree,
    keras_coconut.Section,
    keras_coconut.Share,
    keras_coconut.SlotGeometry,
    keras_coconut.Splits,
    keras_coconut.StepProbe,
    keras_coconut.Superposition,
    keras_coconut.ThoughtBudget,
    keras_coconut.ThoughtGeometry,
    keras_coconut.ThoughtProbes,
    keras_coconut.ThoughtStates,
    keras_coconut.ThoughtSwap,
    keras_coconut.TreeLevel,
    keras_coconut.VectorGeometry,
    keras_coconut.Verdict,
)
# Whose optional arguments may stand in third place, and why.
POSITIONAL = {
    "report_card": "control, the other model beside the first",
    "ContinuousThoughtLM.check_data": "x, y, sample_weight, as in Keras",
}


# === Names ===


@pytest.mark.any_backend
def test_the_names_are_these():
    assert sorted(keras_coconut.__all__) == NAMES
    assert dir(keras_coconut) == sorted([*NAMES, "__version__"])
    for name in NAMES:
        assert getattr(keras_coconut, name) is not None


@pytest.mark.any_backend
@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_packages_show_their_names(package):
    assert dir(package) == sorted(package.__all__)
    for name in package.__all__:
        value = getattr(package, name)
        # Constants are tables of names, and have no module.
        module = getattr(value, "__module__", package.__name__)
        assert module.startswith(package.__name__)
        if name in NAMES:
            assert getattr(keras_coconut, name) is value


@pytest.mark.any_backend
@pytest.mark.parametrize("package", [keras_coconut, *PACKAGES])
def test_other_names_are_unknown(package):
    with pytest.raises(AttributeError, match="no attribute 'load_datasets'"):
        _ = package.load_datasets


@pytest.mark.any_backend
def test_the_library_imports_little():
    """Whatever Keras and KerasHub import themselves."""
    code = f"""
        import builtins, sys
        import keras_hub

        before, asked, plain = set(sys.modules), [], builtins.__import__

        def recorded(name, globals=None, *others):
            importer = (globals or {{}}).get("__name__", "")
            if importer.partition(".")[0] == "keras_coconut":
                asked.append(name.partition(".")[0])
            return plain(name, globals, *others)

        builtins.__import__ = recorded
        import keras_coconut

        assert "keras_hub" in asked
        new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
        print(sorted(set({LATER}) & (new | set(asked))))
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.any_backend
def test_type_checkers_read_the_types():
    assert (importlib.resources.files(keras_coconut) / "py.typed").is_file()
    setup = pathlib.Path(__file__).parents[1] / "setup.py"
    assert '"py.typed"' in setup.read_text(encoding="utf-8")


# === Signatures ===


def is_prescribed(cls, method):
    """Whether Keras or KerasHub has such a method, and calls it so."""
    return any(
        method in vars(base)
        for base in cls.__mro__
        if not base.__module__.startswith("keras_coconut")
    )


def public_methods(name, cls):
    """The methods that the library itself gives to a class."""
    for base in cls.__mro__:
        if base.__module__.startswith("keras_coconut"):
            for method, value in vars(base).items():
                if not method.startswith("_") and (
                    inspect.isfunction(value)
                    or isinstance(value, classmethod | staticmethod)
                ):
                    yield method, getattr(cls, method)


def public_callables():
    """By name, every callable of the library and whether Keras prescribes it.

    Without the constructors of what only the library makes.
    """
    for name in NAMES:
        value = getattr(keras_coconut, name)
        if not inspect.isclass(value):
            yield name, value, False
            continue
        if value not in RESULTS and not issubclass(value, Exception):
            yield name, value.__init__, False
        for method, function in public_methods(name, value):
            prescribed = is_prescribed(value, method)
            yield f"{name}.{method}", function, prescribed


def parameters(function):
    return [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ("self", "cls")
    ]


def third_by_position(function):
    """Optional arguments that a call may give without their name."""
    return [
        parameter.name
        for parameter in parameters(function)[2:]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is not parameter.empty
    ]


def missing_types(function):
    """Arguments without a type, and `return`."""
    signature = inspect.signature(function)
    missing = [
        parameter.name
        for parameter in parameters(function)
        if parameter.annotation is parameter.empty
    ]
    if signature.return_annotation is signature.empty:
        # That of a dataclass, which writes its constructor, is known.
        missing.append("return")
    return missing


@pytest.mark.any_backend
def test_arguments_after_the_second_have_names():
    found = {
        name: third_by_position(function)
        for name, function, prescribed in public_callables()
        if not prescribed and third_by_position(function)
    }
    assert set(found) == set(POSITIONAL), found


@pytest.mark.any_backend
def test_everything_public_has_types():
    missing = {
        name: missing_types(function)
        for name, function, _ in public_callables()
        if missing_types(function)
    }
    assert not missing


@pytest.mark.any_backend
def test_every_property_has_a_type():
    missing = [
        f"{cls.__name__}.{name}"
        for cls in map(vars(keras_coconut).get, NAMES)
        if inspect.isclass(cls)
        for base in cls.__mro__
        if base.__module__.startswith("keras_coconut")
        for name, value in vars(base).items()
        if isinstance(value, property)
        and not name.startswith("_")
        and "return" not in value.fget.__annotations__
    ]
    assert not missing
