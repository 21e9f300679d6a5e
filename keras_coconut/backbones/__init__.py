"""What a layer does before and after it attends, for each family."""

from keras_coconut.backbones.decoder import Block, Decoder, drop, keep
from keras_coconut.backbones.families import (
    FAMILIES,
    check_backbone,
    check_family,
    describe,
    max_sequence_length,
)

__all__ = [
    "FAMILIES",
    "Block",
    "Decoder",
    "check_backbone",
    "check_family",
    "describe",
    "drop",
    "keep",
    "max_sequence_length",
]
