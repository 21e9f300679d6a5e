"""The TFDS builders, on small files under the published names.

They do the same on every backend, and need TensorFlow beside it.
"""

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds
import tiny

import keras_coconut
from keras_coconut.datasets import gsm8k, prontoqa, prosqa, tfds_builders
from keras_coconut.datasets.registry import load_dataset

pytestmark = pytest.mark.any_backend

SIZES = {"train": 3, "validation": 2, "test": 1}


def write_files(name, folder):
    """Writes a dataset of few problems as its published files are."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "gsm8k_aug":
        problems = iter(tiny.problems(sum(SIZES.values())))
        for split, count in SIZES.items():
            gsm8k.write_gsm8k(
                folder / f"{split[:5]}.txt",
                [next(problems) for _ in range(count)],
            )
        return
    for split, problems in load_dataset(name, **SIZES).items():
        path = folder / f"{name}_{split[:5]}.json"
        keras_coconut.write_problems(path, problems)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for name in ("prosqa", "prontoqa", "gsm8k_aug"):
        write_files(name, folder / name)
    return folder


@pytest.mark.parametrize("name", ["prosqa", "prontoqa", "gsm8k_aug"])
def test_loads_offline_from_a_folder(files, name, tmp_path):
    data = tfds.load(
        name,
        data_dir=tmp_path,
        download_and_prepare_kwargs={
            "download_config": tfds.download.DownloadConfig(
                manual_dir=files / name
            )
        },
    )
    expected = load_published(files, name)
    for split, problems in expected.items():
        examples = list(tfds.as_numpy(data[split]))
        assert len(examples) == SIZES[split] == len(problems)
        found = {entry["question"].decode(): entry for entry in examples}
        for problem in problems:
            entry = found[problem.question]
            assert entry["answer"].decode() == problem.answer
            steps = [step.decode() for step in entry["steps"]]
            assert steps == list(problem.steps)
            for key, value in problem.extra.items():
                got = entry[key].tolist()
                if (
                    value
                    and isinstance(value, list)
                    and isinstance(value[0], str)
                ):
                    got = [item.decode() for item in got]
                assert got == value


def load_published(files, name):
    return load_dataset(name, folder=files / name)


def test_array_records_without_tensorflow(files, tmp_path):
    # In a process that cannot import TensorFlow at all.
    script = f"""
import importlib.machinery

finder = importlib.machinery.PathFinder
find_spec = finder.find_spec

def without_tensorflow(name, *args):
    hidden = name.split(".")[0] in ("tensorflow", "tensorflow_text")
    return None if hidden else find_spec(name, *args)

finder.find_spec = without_tensorflow
import tensorflow_datasets as tfds
from keras_coconut.datasets import tfds_builders
import keras_coconut.datasets.prosqa
builder = tfds.builder(
    "prosqa", data_dir={str(tmp_path)!r}, file_format="array_record"
)
builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
        manual_dir={str(files / "prosqa")!r}
    )
)
source = builder.as_data_source(split="train")
print(len(source), sorted(source[0])[0], source[0]["answer"].decode())
"""
    finished = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.splitlines()[-1].split()[:2] == ["3", "answer"]


def case(name, builder):
    """TFDS' own tests of a builder, which find its files in a folder."""

    class Case(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = builder
        SPLITS = SIZES
        EXAMPLE_DIR = pathlib.Path(__file__).parent / "never"

        @classmethod
        def setUpClass(cls):
            write_files(name, cls.folder)
            super().setUpClass()

    return Case


@pytest.fixture(scope="session", autouse=True)
def example_folders(files):
    for name, cls in CASES.items():
        cls.folder = cls.EXAMPLE_DIR = files / name


CASES = {
    "prosqa": case("prosqa", prosqa.Prosqa),
    "prontoqa": case("prontoqa", prontoqa.Prontoqa),
    "gsm8k_aug": case("gsm8k_aug", gsm8k.Gsm8kAug),
}
TestProsqa, TestProntoqa, TestGsm8kAug = CASES.values()


def test_what_the_manual_folder_lacks_is_downloaded(tmp_path, monkeypatch):
    """TFDS shares the folder among all datasets, so others may lie there."""
    folders = []

    def read_split(name, split, folder):
        folders.append(folder)
        return []

    monkeypatch.setattr(tfds_builders.published, "read_split", read_split)
    (tmp_path / "imagenet.tar").touch()
    (tmp_path / "prosqa_valid.json").touch()
    for name in ("prosqa", "prontoqa"):
        builder = tfds.builder(name, data_dir=tmp_path / "data")
        for split in ("test", "validation"):
            list(builder._generate_examples(split, tmp_path))
    # The files of ProntoQA are nowhere on the web.
    assert folders == [None, tmp_path, tmp_path, tmp_path]
