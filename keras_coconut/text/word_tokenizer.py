"""A small GPT-2 vocabulary for models trained from scratch."""

from collections.abc import Iterable, Mapping, Sequence, Set

import keras_hub
from tokenizers import pre_tokenizers

from keras_coconut.checks import check_text, refuse
from keras_coconut.text.marker_tokens import MARKERS, add_thought_tokens

_END_OF_TEXT = "<|endoftext|>"


def make_word_tokenizer(words: Sequence[str] = ("###",)):
    """Makes a GPT-2 tokenizer of single bytes and given words.

    Any text can be tokenized: where a given word stands it becomes one token,
    the longest word first, and everything else becomes one token a byte. The
    marker tokens are included.

    Args:
        words: sequence of strings, which may hold spaces and punctuation.

    Returns:
        A `keras_hub.tokenizers.GPT2Tokenizer`.

    Raises:
        ValueError: If a word is not a string, is empty, or holds a control
            token.

    Example:
    ```python
    tokenizer = make_word_tokenizer(["### ", " lorpus", " rorpus", " is a"])
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
