"""No argument of a public function is left out of the tables."""

import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
import pytest
import test_batch_arguments
import test_evaluation_arguments
import test_graph_arguments
import test_inherited_arguments
import test_model_arguments
import test_plot_arguments
import test_probe_arguments
import test_problem_arguments
import test_report_arguments
import test_text_arguments
import test_training_arguments

import keras_coconut
import keras_coconut.analysis
import keras_coconut.datasets
import keras_coconut.evaluation

pytestmark = pytest.mark.any_backend

TESTS = pathlib.Path(__file__).parents[1]
TABLES = [
    test_batch_arguments.TABLE,
    test_evaluation_arguments.TABLE,
    test_graph_arguments.TABLE,
    test_inherited_arguments.TABLE,
    test_model_arguments.TABLE,
    test_plot_arguments.TABLE,
    test_probe_arguments.TABLE,
    test_problem_arguments.TABLE,
    test_report_arguments.TABLE,
    test_text_arguments.TABLE,
    test_training_arguments.TABLE,
]
REFUSED = "it refuses every call: models/test_kerashub_habits"
KERAS = "Keras calls it, with what Keras has made"
WITHIN = "only the library calls it, with what it has checked"
TFDS = "TFDS makes it and checks its arguments"
RESULT = "a result, which nobody else makes"

# Modules and classes whose functions nobody calls from outside.
NOT_CALLED = {
    "analysis.search.edge_tokens": WITHIN,
    "analysis.search.graph_nodes": WITHIN,
    "analysis.search.group_means": WITHIN,
    "analysis.pooled_means": WITHIN,
    "analysis.search.tree_figures": WITHIN,
    "analysis.causal.number_changes": WITHIN,
    "analysis.causal.step_arithmetic": WITHIN,
    "analysis.plain": WITHIN,
    "analysis.probing.softmax_regression": WITHIN,
    "analysis.probing.step_labels": WITHIN,
    "analysis.beside_control": WITHIN,
    "analysis.early_stop": WITHIN,
    "analysis.forced_counts": WITHIN,
    "analysis.causal.edge_moves": WITHIN,
    "analysis.search.node_table": WITHIN,
    "analysis.plots.graph_layout": WITHIN,
    "analysis.plots.intervals": WITHIN,
    "analysis.plots.notebook_figure": WITHIN,
    "analysis.plots.output": WITHIN,
    "analysis.plots.style": WITHIN,
    "analysis.probing.step_probes": WITHIN,
    "evaluation.journal": WITHIN,
    "evaluation.made_by": WITHIN,
    "evaluation.request": WITHIN,
    "evaluation.results_file": WITHIN,
    "evaluation.unfinished": WITHIN,
    "analysis.monitoring.event_files": WITHIN,
    "analysis.monitoring.logged_values": WITHIN,
    "analysis.monitoring.ready_measures": WITHIN,
    "Gsm8kAug": TFDS,
    "Prontoqa": TFDS,
    "Prosqa": TFDS,
    "tfds_builders": TFDS,
    "Published": WITHIN,
    "Swapping": WITHIN,
    "PublishedFile": WITHIN,
    "Interval": RESULT,
    "McNemar": RESULT,
    "SampledEvaluation": RESULT,
    "SearchTree": RESULT,
    "Superposition": RESULT,
    "Share": RESULT,
    "FrontierMass": RESULT,
    "GroupMeans": RESULT,
    "HeightValue": RESULT,
    "MassShare": RESULT,
    "Parallelism": RESULT,
    "PooledMean": RESULT,
    "Section": RESULT,
    "TreeLevel": RESULT,
    "Verdict": RESULT,
    "EarlyStop": RESULT,
    "ForcedThoughts": RESULT,
    "SlotGeometry": RESULT,
    "StepProbe": RESULT,
    "ThoughtBudget": RESULT,
    "ThoughtGeometry": RESULT,
    "ThoughtProbes": RESULT,
    "VectorGeometry": RESULT,
    "CounterfactualEdge": RESULT,
    "CounterfactualEdges": RESULT,
    "CounterfactualEvaluation": RESULT,
    "MinimalPair": RESULT,
    "MinimalPairEvaluation": RESULT,
    "MinimalPairs": RESULT,
    "ThoughtSwap": RESULT,
    "DecodedToken": RESULT,
    "Devices": RESULT,
    "Layout": RESULT,
    "ThoughtStates": RESULT,
    "ContinuousThoughtLM.preprocessor_cls": "the class, with rows of its own",
}
# Functions, or arguments of functions, with the test file that has their rows,
# or with why no value can be wrong.
ELSEWHERE = {
    "ContinuousThoughtLM(kwargs)": "Keras' own: its name and dtype",
    "ContinuousThoughtLM.__call__": "models/test_batches.py",
    "ContinuousThoughtLM.call": KERAS,
    "ContinuousThoughtLM.call_with_cache": REFUSED,
    "ContinuousThoughtLM.check_call": WITHIN,
    "ContinuousThoughtLM.check_data": "test_fuzz.py",
    "ContinuousThoughtLM.compile(kwargs)": "Keras' own",
    "ContinuousThoughtLM.compile(optimizer)": "Keras' own",
    "ContinuousThoughtLM.compile(weighted_metrics)": "Keras' own",
    "ContinuousThoughtLM.compile_from_config": KERAS,
    "ContinuousThoughtLM.compute_loss": KERAS,
    "ContinuousThoughtLM.compute_metrics": KERAS,
    "ContinuousThoughtLM.compute_output_spec": KERAS,
    "ContinuousThoughtLM.dtype_policy": "models/test_kerashub_habits.py",
    "ContinuousThoughtLM.evaluate(kwargs)": "models/test_targets.py",
    "ContinuousThoughtLM.export_to_transformers": REFUSED,
    "ContinuousThoughtLM.fit(kwargs)": "models/test_targets.py",
    "ContinuousThoughtLM.from_preset(kwargs)": "the constructor's",
    "ContinuousThoughtLM.generate_step": KERAS,
    "ContinuousThoughtLM.get_quantization_layer_structure": KERAS,
    "ContinuousThoughtLM.load_task_weights": REFUSED,
    "ContinuousThoughtLM.save_to_preset": KERAS,
    "ContinuousThoughtLM.load_own_variables": KERAS,
    "ContinuousThoughtLM.make_predict_function": KERAS,
    "ContinuousThoughtLM.make_test_function": KERAS,
    "ContinuousThoughtLM.make_thinking": WITHIN,
    "ContinuousThoughtLM.make_train_function": KERAS,
    "ContinuousThoughtLM.predict(kwargs)": "Keras' own",
    "ContinuousThoughtLM.preprocess_samples": KERAS,
    "ContinuousThoughtLM.quantize(config)": "Keras' own",
    "ContinuousThoughtLM.quantize(filters)": "Keras' own",
    "ContinuousThoughtLM.quantize(kwargs)": "Keras' own",
    "ContinuousThoughtLM.rematerialized_call": KERAS,
    "ContinuousThoughtLM.save(kwargs)": "Keras' own",
    "ContinuousThoughtLM.save(overwrite)": "Keras' own",
    "ContinuousThoughtLM.save(zipped)": "Keras' own",
    "ContinuousThoughtLM.save_task_weights": REFUSED,
    "ContinuousThoughtLM.set_weights": "models/test_saving.py",
    "ContinuousThoughtLM.train_on_batch(kwargs)": "Keras' own",
    "ContinuousThoughtLM.test_step": KERAS,
    "ContinuousThoughtLM.train_step": KERAS,
    "ContinuousThoughtPreprocessor(kwargs)": "Keras' own: its name and dtype",
    "ContinuousThoughtPreprocessor.__call__": "those of `call`",
    "ContinuousThoughtPreprocessor.from_config(config)": KERAS,
    "ContinuousThoughtPreprocessor.from_preset(kwargs)": "the constructor's",
    "ContinuousThoughtPreprocessor.load_preset_assets": KERAS,
    "Curriculum.check_stage": "test_curriculum.py",
    "Curriculum.draw_layout": "test_curriculum.py",
    "Curriculum.layouts_shown": "test_curriculum.py",
    "CurriculumDataset(kwargs)": "training/test_workers.py",
    "CurriculumDataset(cache_folder)": "text/test_tokenized_problems.py",
    "CurriculumDataset.train": WITHIN,
    "HealthMonitor.before_save": WITHIN,
    "HealthMonitor.begin_run": WITHIN,
    "TrainingTroubleError": "Python's own",
    "CurriculumDataset.check_callbacks": WITHIN,
    "Evaluation": RESULT,
    "Evaluation.from_dict(entry)": "evaluation/test_evaluation.py",
    "ReportCard": RESULT,
    "ReportCard.save(path)": "report/test_report_card.py",
    "answer": WITHIN,
    "first_full_epoch": WITHIN,
    "ranks": WITHIN,
    "most_thoughts": WITHIN,
    "open_journal": WITHIN,
    "distribute(devices)": "training/test_distribution.py",
    "distribute(model_parallel)": "training/test_distribution.py",
    "distribute(shard_optimizer)": "training/test_distribution.py",
    "draw_splits": WITHIN,
    "candidates": WITHIN,
    "statement_counts": WITHIN,
    "read_graphs": WITHIN,
    "read_values": WITHIN,
    "take_splits": WITHIN,
    "check_sizes": WITHIN,
    "judge": WITHIN,
    "read_published_model(kwargs)": "those of `from_preset`",
    "load_dataset(kwargs)": "datasets/test_splits.py",
}


def methods(label, cls):
    """The constructor, the methods, and the setters of a class of our own."""
    yield label, cls.__init__
    for base in cls.__mro__:
        if not base.__module__.startswith("keras_coconut"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and name != "__call__":
                continue
            if isinstance(value, property):
                if value.fset is not None:
                    yield f"{label}.{name}", value.fset
            elif callable(getattr(cls, name)):
                yield f"{label}.{name}", getattr(cls, name)


def functions():
    """Every public function and method, by the name that the tables use."""
    public = {
        name: getattr(keras_coconut, name) for name in keras_coconut.__all__
    }
    for package in (
        keras_coconut.analysis,
        keras_coconut.datasets,
        keras_coconut.evaluation,
    ):
        for info in pkgutil.walk_packages(
            package.__path__, f"{package.__name__}."
        ):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if not name.startswith("_") and (
                    getattr(value, "__module__", None) == info.name
                ):
                    public[name] = value
    for name, value in public.items():
        module = value.__module__.removeprefix("keras_coconut.")
        if module in NOT_CALLED or module.split(".")[-1] in NOT_CALLED:
            continue
        if inspect.isclass(value):
            yield from methods(name, value)
        elif callable(value):
            yield name, value


def covered():
    """What the tables have rows for: `function(argument)`."""
    found = set()
    for table in TABLES:
        for label, call in table.items():
            # A second row of a function says after its name what differs.
            name = re.match(r"[\w.]+", label)[0]
            found |= {f"{name}({argument})" for argument in call.bad}
    return found


def every_argument():
    for name, function in functions():
        if name.split(".")[0] in NOT_CALLED or name in NOT_CALLED:
            continue
        if ".on_" in name:
            continue  # Keras calls what a callback does.
        for parameter in inspect.signature(function).parameters:
            if parameter != "self":
                yield name, f"{name}({parameter})"


def test_every_argument_stands_in_a_table_or_says_why_not():
    rows = covered()
    missing = [
        argument
        for name, argument in every_argument()
        if argument not in rows and not {name, argument} & set(ELSEWHERE)
    ]
    assert not missing


def test_nothing_stands_in_the_list_that_a_table_has_or_nobody_knows():
    known = {name for pair in every_argument() for name in pair}
    assert set(ELSEWHERE) <= known
    assert not set(ELSEWHERE) & covered()


def test_callbacks_are_keras():
    """So that leaving out their `on_...` methods leaves out nothing else."""
    for name in (
        "CurriculumScheduler",
        "AnswerAccuracy",
        "HealthMonitor",
        "Measurements",
    ):
        for method, _ in functions():
            owner, _, called = method.partition(".")
            if owner == name and called.startswith("on_"):
                assert hasattr(keras.callbacks.Callback, called)


@pytest.mark.parametrize(
    ("name", "file"),
    [pair for pair in ELSEWHERE.items() if pair[1].endswith(".py")],
)
def test_the_other_files_call_it(name, file):
    text = (TESTS / file).read_text(encoding="utf-8")
    called = re.split(r"\(", name)[0].split(".")[-1]
    assert {"__call__": "model(x)"}.get(called, called) in text
