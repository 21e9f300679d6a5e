"""The numbers of thoughts that an analysis forces."""

from collections.abc import Sequence

from keras_coconut.evaluation.request import check_forced
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM


def choose_counts(
    model: ContinuousThoughtLM, num_thoughts: Sequence[int] | None
) -> list[int]:
    """Returns the numbers of thoughts to force; 0 to the model's by default.

    Args:
        model: a `ContinuousThoughtLM`.
        num_thoughts: sequence of distinct ints, or `None`.

    Raises:
        ValueError: If it is anything else, or if it is `None` and the model has
            no `num_thoughts`.

    Example:
    ```python
    choose_counts(model, None)  # [0, 1, 2] for a model with two thoughts.
    ```
    """
    if num_thoughts is not None:
        return check_forced(num_thoughts)
    if model.num_thoughts is None:
        raise ValueError(
            "`num_thoughts` must be a sequence of different whole numbers, "
            "such as `range(7)`, as the model has no `num_thoughts` of its "
            "own. Received: num_thoughts=None and model.num_thoughts=None"
        )
    return list(range(model.num_thoughts + 1))
