"""Packaging of keras_coconut; the tools' settings stand in pyproject.toml."""

import pathlib
import runpy

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSIONS = runpy.run_path(str(HERE / "keras_coconut/versions.py"))
# The oldest releases that work; constraints.txt has those of today.
OLDEST = VERSIONS["OLDEST"]

BACKENDS = {
    # `tensorflow` comes with keras-hub on Linux, by way of tensorflow-text.
    "tensorflow": [f"tensorflow>={OLDEST['tensorflow']}"],
    "jax": [f"jax[cpu]>={OLDEST['jax']}"],
    # constraints.txt names a release with builds for the CPU alone.
    "torch": [f"torch>={OLDEST['torch']}"],
}

setup(
    name="keras_coconut",
    version=VERSIONS["__version__"],
    description="Coconut, Chain of Continuous Thought, for Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    packages=find_packages(include=["keras_coconut", "keras_coconut.*"]),
    # Type checkers read the library's own types.
    package_data={"keras_coconut": ["py.typed"]},
    install_requires=[
        f"keras>={OLDEST['keras']}",
        f"keras-hub>={OLDEST['keras-hub']}",
        # Plots and the report card.
        "matplotlib",
        "numpy",
        "safetensors>=0.4.3",
        # Intervals, paired tests and probes.
        "scipy",
        "sentencepiece",
        # Probes on one thread.
        "threadpoolctl",
        "tokenizers",
    ],
    extras_require={
        **BACKENDS,
        # TFDS needs the other two and does not say so.
        "data": ["tensorflow-datasets>=4.9", "dill", "importlib_resources"],
        # ruff formats the signatures of the API.
        "docs": ["mkdocstrings-python", "ruff", "zensical"],
        "examples": ["absl-py"],
        "notebooks": ["ipykernel", "jupytext", "nbclient"],
        "dev": [
            "hypothesis",
            "mypy",
            # `export` to ONNX, and `keras.utils.plot_model`.
            "onnx",
            "onnxruntime",
            "onnxscript",
            "pandas",
            "pre-commit",
            "pyarrow",
            "pydot",
            "pytest",
            "pytest-xdist",
            "ruff",
            "tensorboard",
            "tf2onnx",
        ],
    },
)
