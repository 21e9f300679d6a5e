"""Every example in the docs runs, on a tiny model instead of a download."""

import ast
import dataclasses
import importlib
import inspect
import os
import pathlib
import pkgutil
import re
from unittest import mock

import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
import tiny

import keras_coconut
from keras_coconut.models import exporting, generation_settings

pytestmark = pytest.mark.any_backend

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
        keras_coconut.write_gsm8k(folder / "gsm8k" / f"{split}.txt", [problem])
        keras_coconut.write_gsm8k(folder.parent / f"{split}.txt", [problem])


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What the examples take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generation_settings, "_DEFAULT_MAX_LENGTH", 12)
    # A file takes a minute, and not every backend writes each.
    for step in ("_check_format", "_check_modules", "_write"):
        monkeypatch.setattr(exporting, step, lambda *_: None)
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
    rows = [problem.to_dict() for problem in tiny.problems(50)]
    table = pd.DataFrame(rows)
    table.to_parquet(tmp_path / "problems.parquet")
    table["steps"] = table["steps"].map("\n".join)
    table.to_csv(tmp_path / "problems.csv", index=False)
    graphs = [tiny.edge_problem(shift) for shift in range(8)]
    for name in ("prosqa_train", "prosqa_test"):
        keras_coconut.write_problems(tmp_path / f"{name}.json", graphs)
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
        "curriculum": curriculum,
        "dataset": dataset,
        "graph_problems": graphs,
        "keras": keras,
        "keras_coconut": keras_coconut,
        "keras_hub": keras_hub,
        "model": model,
        "np": np,
        "problem": problems[0],
        "problems": problems,
        "tokenizer": model.preprocessor.tokenizer,
        "validation_problems": problems[:2],
    }


@pytest.mark.filterwarnings("ignore:`epochs` must be at least")
@pytest.mark.filterwarnings("ignore:`callbacks` holds no")
@pytest.mark.parametrize(("block", "module"), documented())
def test_docstring(block, module, names):
    # What is not public uses what its own module holds.
    known = {
        name: value
        for name, value in vars(module).items()
        if name not in keras_coconut.__all__
    }
    names = {**known, **names}
    exec(compile(ast.parse(block), "<docstring>", "exec"), names)


PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
)


def snippets():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
        for number, block in enumerate(blocks, 1):
            yield pytest.param(block, id=f"{page}, {number}")


@pytest.mark.filterwarnings("ignore:`epochs` must be at least")
@pytest.mark.parametrize("block", snippets())
def test_snippet(block, names):
    """It runs as it stands, with its own imports, where its files are."""
    code = compile(ast.parse(block), "<page>", "exec")
    # Several devices: tests/training/test_model_parallel.py.
    if "model_parallel=" not in block and "shard_optimizer=" not in block:
        # A page shows how to choose the backend, also to the tests that follow.
        with mock.patch.dict(os.environ):
            exec(code, {"__name__": "snippet"})


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")) + ["README.md"])
def test_links(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        if "://" in link:
            continue
        target = (ROOT / page).parent / link if link else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), f"{link}#{anchor}"


def anchors(page):
    """The anchors of a page's headings, as GitHub and the site name them."""
    text = page.read_text(encoding="utf-8")
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\s-]", "", heading).lower().replace(" ", "-")
