"""The generators of random numbers that a model and its backend draw from."""

from typing import Any

import keras


def seed_generators(holder) -> list[keras.random.SeedGenerator]:
    """Returns the seed generators that an object, like a sampler, draws from.

    In the order of their names.
    """
    return [
        value
        for _, value in sorted(vars(holder).items())
        if isinstance(value, keras.random.SeedGenerator)
    ]


def torch_generators() -> dict[str, Any]:
    """Returns PyTorch's generators that this process draws from, by device.

    Dropout layers draw from these on PyTorch, not from generators of Keras.
    """
    import torch

    found: dict[str, Any] = {"cpu": torch.default_generator}
    if torch.cuda.is_available():
        device = torch.cuda.current_device()
        torch.cuda.init()
        found["cuda"] = torch.cuda.default_generators[device]
    if torch.backends.mps.is_available():
        found["mps"] = torch.mps._get_default_mps_generator()
    return found
