"""TFDS builders for the published datasets. Needs tensorflow-datasets.

Each dataset's own module defines its builder, so that importing the module is
what registers it:

    import keras_coconut.datasets.prosqa
    tfds.load("prosqa", download_and_prepare_kwargs={...})

Files come from TFDS' manual folder if they are there, and are downloaded and
checked otherwise; see `published.py`. Without TensorFlow, array records:

    builder = tfds.builder("prosqa", file_format="array_record")
    builder.download_and_prepare()
    source = builder.as_data_source(split="train")
"""

import importlib.util
import os

from keras_coconut.datasets import published

# TFDS takes a second to import, but a module that registers must import it.
AVAILABLE = importlib.util.find_spec("tensorflow_datasets") is not None

if AVAILABLE:
    import numpy as np
    import tensorflow_datasets as tfds

    # TFDS has no types, and its base class takes this argument.
    class ProblemsBuilder(  # type: ignore[call-arg]
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        """A published dataset of problems.

        A subclass names what it reads and what a problem holds beside its
        question, steps and answer.
        """

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "As published."}
        MANUAL_DOWNLOAD_INSTRUCTIONS = (
            "Put the published files into the manual folder. Where they were "
            "published on the web and are missing here, they are downloaded."
        )
        DATASET: str
        DESCRIPTION: str
        CITATION: str
        HOMEPAGE: str

        def extra_features(self) -> dict:
            """Features of `Problem.extra`, by key."""
            return {}

        def _info(self):
            return self.dataset_info_from_configs(
                description=self.DESCRIPTION,
                citation=self.CITATION,
                homepage=self.HOMEPAGE,
                features=tfds.features.FeaturesDict(
                    {
                        "question": tfds.features.Text(),
                        "steps": tfds.features.Sequence(tfds.features.Text()),
                        "answer": tfds.features.Text(),
                        **self.extra_features(),
                    }
                ),
            )

        def _split_generators(self, dl_manager):
            try:
                folder = dl_manager.manual_dir
            except AssertionError:  # It is not there, or empty.
                folder = None
            return {
                name: self._generate_examples(split, folder)
                for name, split in (
                    ("train", "train"),
                    ("validation", "validation"),
                    ("test", "test"),
                )
            }

        def _generate_examples(self, split, folder):
            file = getattr(published.PUBLISHED[self.DATASET], split)
            if folder is not None and file.url is not None:
                # Files of other datasets may lie there.
                if not os.path.exists(os.path.join(folder, file.name)):
                    folder = None
            problems = published.read_split(self.DATASET, split, folder=folder)
            for index, problem in enumerate(problems):
                entry = problem.to_dict()
                missing = [
                    key for key in self.info.features if key not in entry
                ]
                if missing:
                    raise ValueError(
                        f"the split {split!r} of {self.DATASET!r}, entry "
                        f"{index + 1}: expected the keys "
                        f"{list(self.info.features)}. Received none of "
                        f"{missing}"
                    )
                yield index, {key: entry[key] for key in self.info.features}

    def graph_features() -> dict:
        """Features of the published graph keys."""
        return {
            "idx_to_symbol": tfds.features.Sequence(tfds.features.Text()),
            "edges": tfds.features.Sequence(
                tfds.features.Tensor(shape=(2,), dtype=np.int32)
            ),
            "root": tfds.features.Scalar(np.int32),
            "target": tfds.features.Scalar(np.int32),
            "neg_target": tfds.features.Scalar(np.int32),
        }
