"""What the property tests share: settings, values, and what is promised."""

import math

import numpy as np
from hypothesis import HealthCheck
from hypothesis import strategies as st

FUZZ = dict(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# Whatever somebody may give for a number.
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([10**12, 10**5000, -(10**5000), "1" * 10**6, {1}, b"1"]),
    st.floats(-3, 3),
    st.sampled_from([math.nan, math.inf, np.int64(1), np.float32(1), np.True_]),
    st.text(max_size=3),
    st.lists(st.integers(-1, 3), max_size=3),
)


# Halves of surrogate pairs too, which `st.text()` leaves out.
TEXT = st.text(st.characters(), max_size=8) | st.lists(
    st.sampled_from(
        [
            *("<|endoftext|>", "<|latent|>", "<|start-latent|>", "<|end"),
            *("#", "### ", "||", "\n", " ", "\u2028", "\u0301", "é", "👍🏽"),
            *("start", " +", "\ud800", "\0", "1", ","),
        ]
    ),
    max_size=5,
).map("".join)


def refused(function, *args, **kwargs):
    """Returns the error's text, which is of the promised kind, or `None`."""
    try:
        function(*args, **kwargs)
    except ValueError as error:
        assert type(error) is ValueError and "`" in str(error)
        assert len(str(error)) < 500
        return str(error)
    return None


def is_count(value, least=0, most=2**31 - 1):
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and least <= value <= most
