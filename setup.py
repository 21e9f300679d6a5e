"""Packaging of keras_coconut; the tools' settings stand in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (HERE / "keras_coconut/__init__.py").read_text()
).group(1)

BACKENDS = {
    # `tensorflow` comes with keras-hub on Linux, by way of tensorflow-text.
    "tensorflow": ["tensorflow>=2.18"],
    "jax": ["jax[cpu]>=0.4.34"],
    # constraints.txt names a release with builds for the CPU alone.
    "torch": ["torch>=2.4"],
}

setup(
    name="keras_coconut",
    version=VERSION,
    description="Coconut, Chain of Continuous Thought, for Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["keras_coconut", "keras_coconut.*"]),
    install_requires=[
        "keras>=3.15",
        "keras-hub>=0.32",
        "numpy",
        "sentencepiece",
        "tokenizers",
    ],
    extras_require={
        **BACKENDS,
        # TFDS needs the other two and does not say so.
        "data": ["tensorflow-datasets>=4.9", "dill", "importlib_resources"],
        "examples": ["absl-py", "matplotlib", "scipy"],
        "dev": [
            "hypothesis",
            "pandas",
            "pre-commit",
            "pytest",
            "pytest-xdist",
            "ruff",
            "tensorboard",
        ],
    },
)
