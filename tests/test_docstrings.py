"""Every example in the docs runs, on a tiny model instead of a download."""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
import keras_hub
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.analysis.plots import plot_stages
from keras_coconut.analysis.thoughts import decode_thoughts
from keras_coconut.datasets.arithmetic import make_arithmetic
from keras_coconut.datasets.gsm8k import write_gsm8k
from keras_coconut.datasets.registry import load_dataset
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.models import generation
from keras_coconut.text.word_tokenizer import make_word_tokenizer

ROOT = pathlib.Path(__file__).parents[1]


def documented():
    """Every public class, method and function that shows an example."""
    found = {}
    for info in pkgutil.walk_packages(keras_coconut.__path__, "keras_coconut."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if name.startswith("_") or (
                getattr(value, "__module__", None) != info.name
            ):
                continue
            found[f"{info.name}.{name}"] = (module, value)
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if not method.startswith("_"):
                        path = f"{info.name}.{name}.{method}"
                        found[path] = (module, function)
    for name, (module, value) in found.items():
        text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
        for block in re.findall(r"```python\n(.+?)```", text, re.DOTALL):
            test_id = name.removeprefix("keras_coconut.")
            yield pytest.param(block, module, id=test_id)


def test_every_public_name_shows_an_example():
    for name in keras_coconut.__all__:
        assert "```python" in (inspect.getdoc(getattr(keras_coconut, name)))


def write_published(folder):
    """Small files under the names of the published ones."""
    (folder / "gsm8k").mkdir(parents=True)
    for number, split in enumerate(("train", "valid", "test")):
        problem = keras_coconut.Problem(f"{number} + 1?", ["<<1+1=2>>"], "2")
        keras_coconut.write_problems(folder / f"prosqa_{split}.json", [problem])
        write_gsm8k(folder / "gsm8k" / f"{split}.txt", [problem])
        write_gsm8k(folder.parent / f"{split}.txt", [problem])


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What the examples take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generation, "_DEFAULT_MAX_LENGTH", 12)
    problems = [
        dataclasses.replace(problem, extra=tiny.GRAPH)
        for problem in tiny.problems(8)
    ]
    write_published(tmp_path / "data")
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    model.num_thoughts = 2
    curriculum = keras_coconut.Curriculum(2)
    dataset = keras_coconut.CurriculumDataset(
        problems, model.preprocessor, curriculum, batch_size=4
    )
    for name in ("prosqa_train", "prosqa_test"):
        keras_coconut.write_problems(tmp_path / f"{name}.json", problems)
    preset = str(tmp_path / "preset")
    model.save_to_preset(preset)
    for cls in (
        keras_coconut.ContinuousThoughtLM,
        keras_coconut.ContinuousThoughtPreprocessor,
        keras_hub.tokenizers.GPT2Tokenizer,
        keras_hub.models.GPT2Backbone,
    ):
        # Examples name a preset of gigabytes, and thousands of epochs.
        load = cls.from_preset
        monkeypatch.setattr(
            cls, "from_preset", lambda _, load=load, **kw: load(preset, **kw)
        )
    fit = keras_coconut.ContinuousThoughtLM.fit

    def one_epoch(self, *args, **kwargs):
        kwargs.update(verbose=0, epochs=1)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(keras_coconut.ContinuousThoughtLM, "fit", one_epoch)

    return {
        "AnswerAccuracy": AnswerAccuracy,
        "curriculum": curriculum,
        "dataset": dataset,
        "decode_thoughts": decode_thoughts,
        "evaluate_problems": evaluate_problems,
        "keras": keras,
        "keras_coconut": keras_coconut,
        "keras_hub": keras_hub,
        "make_arithmetic": make_arithmetic,
        "make_word_tokenizer": make_word_tokenizer,
        "load_dataset": load_dataset,
        "model": model,
        "np": np,
        "plot_stages": plot_stages,
        "problem": problems[0],
        "problems": problems,
        "tokenizer": model.preprocessor.tokenizer,
        "validation_problems": problems[:2],
    }


@pytest.mark.filterwarnings("ignore:`epochs` must be at least")
@pytest.mark.filterwarnings("ignore:`callbacks` holds no")
@pytest.mark.parametrize(("block", "module"), documented())
def test_docstring(block, module, names):
    # An example may use what its own module holds.
    names = {**vars(module), **names}
    exec(compile(ast.parse(block), "<docstring>", "exec"), names)


@pytest.mark.filterwarnings("ignore:`epochs` must be at least")
def test_readme(names):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(ast.parse(block), "<README>", "exec"), names)
