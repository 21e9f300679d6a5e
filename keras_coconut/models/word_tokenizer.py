"""A small GPT-2 vocabulary for models trained from scratch."""

from collections.abc import Sequence

import keras_hub
from tokenizers import pre_tokenizers

from keras_coconut.models.thought_tokens import add_thought_tokens


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
        ValueError: If a word is not a string or is empty.

    Example:
    ```python
    tokenizer = make_word_tokenizer(["### ", " lorpus", " rorpus", " is a"])
    tokenizer("### Tom is a lorpus")  # "### ", three letters, two words.
    ```
    """
    for word in words:
        if not isinstance(word, str) or not word:
            raise ValueError(
                "`words` must hold strings that are not empty. Received: "
                f"{word!r}"
            )
    # KerasHub needs one merge; two spaces in a row are as good as any.
    space = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(" ")[0][0]
    end_of_text = "<|endoftext|>"
    tokens = [
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        2 * space,
        end_of_text,
        *words,
    ]
    return add_thought_tokens(
        keras_hub.tokenizers.GPT2Tokenizer(
            {token: i for i, token in enumerate(dict.fromkeys(tokens))},
            [f"{space} {space}"],
            unsplittable_tokens=list(dict.fromkeys([end_of_text, *words])),
        )
    )
