"""Questions as strings: their numbers of thoughts and their batches."""

import keras
import numpy as np

from keras_coconut.checks import check_instance, shown
from keras_coconut.text import arrays, batches
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor

# A program is compiled for each length: few lengths, few programs.
_LENGTH_STEP = 32


def rounded_up(length: int) -> int:
    """Returns a length of questions or responses, of the few there are.

    A multiple of 32. Where steps are compiled, the lengths above 128 are as far
    apart as half of the power of 2 below: 192, 256, 384, 512, 768, ...
    """
    step = _LENGTH_STEP
    if keras.config.backend() != "torch":
        while 4 * step < length:
            step *= 2
    return -(-length // step) * step


def read_questions(model, questions, num_thoughts, name="questions"):
    """Returns a list of strings and the number of thoughts for each."""
    if model.preprocessor is None:
        raise ValueError(
            f"`{name}` must be a dictionary of token ids for a model without "
            f"a preprocessor. Received: {type(questions).__name__}"
        )
    check_instance(
        "preprocessor",
        model.preprocessor,
        ContinuousThoughtPreprocessor,
        "a `keras_coconut.ContinuousThoughtPreprocessor`",
    )
    texts = arrays.check_questions(name, questions)
    if num_thoughts is None:
        num_thoughts = model.num_thoughts
    if num_thoughts is None:
        raise ValueError(
            "`num_thoughts` must be given for a model without a default, which "
            "the constructor or a `CurriculumScheduler` sets. Received: "
            "num_thoughts=None"
        )
    # Before there is a slot, or a pause, for each of too many.
    most = model.preprocessor.sequence_length
    return texts, arrays.per_row_counts(
        "num_thoughts", num_thoughts, len(texts), most
    )


def reject_num_thoughts(num_thoughts) -> None:
    """Raises a `ValueError` for `num_thoughts` beside a dictionary."""
    if num_thoughts is not None:
        raise ValueError(
            "`num_thoughts` must be left out for a dictionary, whose "
            "`thought_mask` gives it. "
            f"Received: num_thoughts={shown(num_thoughts)}"
        )


def tokenize(model, questions, num_thoughts, name="questions"):
    """Returns the texts, their token ids, and the thoughts for each.

    If the model's thoughts are pauses, they are among the tokens.
    """
    texts, counts = read_questions(model, questions, num_thoughts, name)
    ids, counts = model.preprocessor.fill_slots(
        model.preprocessor.tokenize_questions(texts),
        counts,
        [model.thought_kind] * len(texts),
    )
    return texts, ids, counts


def shared_slots(model, num_thoughts: list[int]) -> int | None:
    """Returns the thought slots that all batches have, for `plan_batches`.

    Compiled loops take their rounds from the data, so one program serves any
    number of thoughts in as many slots. `None`, each batch's own, where idle
    slots would be computed.
    """
    if (
        keras.config.backend() == "torch"
        or model.run_eagerly
        or model.num_iterations is not None
        or model.thought_kind != "continuous"
    ):
        return None
    return max(*num_thoughts, model.num_thoughts or 0)


def plan_batches(
    questions, num_thoughts, batch_size, thoughts=None, slots=None
):
    """Groups tokenized questions of similar length into batches of few shapes.

    Args:
        questions: list of token id lists.
        num_thoughts: list of ints, one for each question.
        batch_size: int.
        thoughts: float array (questions, K, D), given thoughts. Optional.
        slots: int, what `shared_slots` returns, unless thoughts are given.
            Defaults to `None`: as many as the batch needs.

    Returns:
        A list of `(rows, x)`: the indices of the questions and their packed
        keys. A smaller last batch is padded with copies of its last row, which
        `rows` leaves out.
    """
    order = sorted(range(len(questions)), key=lambda row: len(questions[row]))
    planned = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        # Few sizes, few programs.
        size = min(batch_size, 2 ** (len(order) - 1).bit_length())
        filled = rows + rows[-1:] * (size - len(rows))
        longest = max(len(questions[row]) for row in rows)
        x = batches.pack_questions(
            [questions[row] for row in filled],
            [num_thoughts[row] for row in filled],
            question_length=rounded_up(longest),
            slots=slots,
        )
        given = x["thought_mask"].shape[1]
        if thoughts is not None and given:
            x["thoughts"] = thoughts[filled, :given]
        planned.append((rows, x))
    return planned


def check_thoughts(model, thoughts, num_thoughts) -> np.ndarray:
    """Returns given thoughts as an array, else raises a `ValueError`.

    Args:
        model: a `ContinuousThoughtLM`.
        thoughts: array-like of finite numbers, (rows, K, D).
        num_thoughts: list of ints, how many of them each row takes.
    """
    if model.thought_kind != "continuous":
        raise ValueError(
            "`thoughts` must be left out for a model whose thoughts are "
            "pauses, which nothing can replace. Received: thought_kind="
            f"{model.thought_kind!r}"
        )
    thoughts = arrays.finite_numbers("thoughts", thoughts)
    rows, most = len(num_thoughts), max(num_thoughts)
    hidden_dim = model.backbone.hidden_dim
    if (
        thoughts.ndim != 3
        or thoughts.shape[0] != rows
        or thoughts.shape[1] < most
        or thoughts.shape[2] != hidden_dim
    ):
        raise ValueError(
            "`thoughts` must hold a vector for each thought of each question, "
            f"({rows}, at least {most}, {hidden_dim}). Received: "
            f"shape={thoughts.shape}"
        )
    return thoughts
