"""Values that are given as NAME=VALUE, held against a dataclass's fields."""

import json
import types
from collections.abc import Sequence
from typing import Literal, Union, get_args, get_origin, get_type_hints


def parse_change(text):
    """Returns the name and the value of NAME=VALUE.

    The value is read as JSON, and is text if it is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"expected NAME=VALUE. Received: {text}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def check_field(owner: type, name: str, value) -> None:
    """Raises a `ValueError` for a value that is not of a field's type.

    Args:
        owner: a dataclass.
        name: string, one of its fields.
        value: as JSON gives it.
    """
    hint = get_type_hints(owner)[name]
    if not is_of(hint, value):
        raise ValueError(
            f"`{name}` must be {describe(hint)}. Received: {name}={value!r}"
        )


def is_of(hint, value) -> bool:
    """Whether a value from JSON is of a type hint."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(is_of(one, value) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is Sequence:
        return isinstance(value, list) and all(
            is_of(inner[0], entry) for entry in value
        )
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if hint is float else hint)


def describe(hint) -> str:
    """Returns a type hint in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, inner))
    if origin is Literal:
        return " or ".join(map(json.dumps, inner))
    if origin is Sequence:
        return "a list, each entry " + describe(inner[0])
    return {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        dict: "an object",
        type(None): "null",
    }[hint]
