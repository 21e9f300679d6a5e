"""GSM8k-Aug: grade-school arithmetic in words, with steps as equations.

GSM8k with training problems that GPT-4 added, as published by
da03/Internalize_CoT_Step_by_Step (arXiv 2405.14838).
"""

from keras_coconut.checks import PathLike
from keras_coconut.datasets import tfds_builders
from keras_coconut.datasets.gsm8k_lines import read_gsm8k, write_gsm8k
from keras_coconut.datasets.published import load_published
from keras_coconut.datasets.splits import Splits

__all__ = ["load_gsm8k", "read_gsm8k", "write_gsm8k"]


def load_gsm8k(folder: PathLike | None = None) -> Splits:
    """Reads GSM8k-Aug: 385,620 training, 500 validation, 1,319 test problems.

    Args:
        folder: string or path-like. The folder that holds `train.txt`,
            `valid.txt` and `test.txt`. With `None` they are downloaded and
            checked; see `keras_coconut.datasets.load_published`. Defaults to
            `None`.

    Returns:
        `Splits`.

    Example:
    ```python
    splits = keras_coconut.load_gsm8k(folder="data/gsm8k")
    ```
    """
    return load_published("gsm8k_aug", folder)


if tfds_builders.AVAILABLE:

    class Gsm8kAug(tfds_builders.ProblemsBuilder):
        """GSM8k-Aug as published."""

        DATASET = "gsm8k_aug"
        DESCRIPTION = __doc__
        HOMEPAGE = "https://github.com/da03/Internalize_CoT_Step_by_Step"
        CITATION = "arXiv:2405.14838"
