"""A small GPT-2 vocabulary for models trained from scratch."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence, Set

import keras_hub
from tokenizers import pre_tokenizers

from keras_coconut.checks import check_count, check_text, refuse
from keras_coconut.problems import Problem, iterate_problems
from keras_coconut.text.marker_tokens import MARKERS, add_thought_tokens

_END_OF_TEXT = "<|endoftext|>"
# A word, a digit or a sign, with the space before it: numbers are written digit
# by digit, since a model never learns one that it has not seen.
_WORD = re.compile(r" ?[^\W\d_]+| ?\d| ?[^\w\s]|_")


def make_word_tokenizer(
    words: Sequence[str] = ("###",),
) -> keras_hub.tokenizers.GPT2Tokenizer:
    """Makes a GPT-2 tokenizer of single bytes and given words.

    It can tokenize any text. Each occurrence of a given word becomes one token,
    with the longest word first; everything else becomes one token per byte. The
    marker tokens are included.

    Args:
        words: sequence of strings, which may contain spaces and punctuation.
            Defaults to `("###",)`.

    Returns:
        A `keras_hub.tokenizers.GPT2Tokenizer`.

    Raises:
        ValueError: If a word is not a string, is empty, or contains a control
            token.

    Example:
    ```python
    words = ["### ", " lorpus", " rorpus", " is a"]
    tokenizer = keras_coconut.make_word_tokenizer(words)
    tokenizer("### Tom is a lorpus")  # "### ", three letters, two words.
    ```
    """
    # A set has another order, and so other ids, in each process.
    if isinstance(words, str | bytes | Mapping | Set) or not isinstance(
        words, Iterable
    ):
        raise refuse("words", "a sequence of strings", words)
    words = [
        check_text(f"words[{index}]", word) for index, word in enumerate(words)
    ]
    for index, word in enumerate(words):
        if not word:
            raise refuse(f"words[{index}]", "a string, not empty", word)
        for control in (_END_OF_TEXT, *MARKERS):
            if control in word:
                raise refuse(
                    f"words[{index}]",
                    f"a string without the control token {control!r}",
                    word,
                )
    # KerasHub needs one merge; two spaces in a row are as good as any.
    space = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(" ")[0][0]
    tokens = [
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        2 * space,
        _END_OF_TEXT,
        *words,
    ]
    return add_thought_tokens(
        keras_hub.tokenizers.GPT2Tokenizer(
            {token: i for i, token in enumerate(dict.fromkeys(tokens))},
            [f"{space} {space}"],
            unsplittable_tokens=list(dict.fromkeys([_END_OF_TEXT, *words])),
        )
    )


def problem_words(
    problems: Iterable[Problem | Mapping], most: int = 10_000
) -> list[str]:
    """Returns the words of problems, for `make_word_tokenizer`.

    A word includes the space before it, as in GPT-2's tokens. Each digit and
    each sign is a word of its own. `###`, which precedes an answer, is always
    included.

    Args:
        problems: iterable of `Problem`s, or another source of problems that
            `ContinuousThoughtLM.fit` takes, except a path.
        most: int. Maximum number of words; the most frequent ones are kept.
            Defaults to `10_000`.

    Returns:
        A list of strings. Equally frequent words are in alphabetical order.

    Raises:
        ValueError: If there are no problems.

    Example:
    ```python
    words = keras_coconut.problem_words(problems)
    tokenizer = keras_coconut.make_word_tokenizer(words)
    ```
    """
    most = check_count("most", most, least=1)
    counts = collections.Counter()
    for problem in iterate_problems("problems", problems):
        for text in (problem.question, *problem.steps, f" {problem.answer}"):
            counts.update(_WORD.findall(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    controls = (_END_OF_TEXT, *MARKERS)
    words = [word for word in ordered if word.strip() not in ("#", *controls)]
    return ["###", *words[: most - 1]]
