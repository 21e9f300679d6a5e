"""A model's result, with the control's beside it."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

Result = TypeVar("Result")


def beside_control(found: Sequence[Result]) -> Result:
    """Returns the first result, with the second as its `control`.

    Args:
        found: the dataclass of the model; then that of the control, if there is
            one.
    """
    own, *others = found
    return dataclasses.replace(own, control=others[0]) if others else own  # type: ignore[type-var]
