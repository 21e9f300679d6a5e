"""How many tokens of a text stand before a place in it."""

from collections.abc import Sequence

from keras_coconut.checks import shown


def count_tokens(
    preprocessor,
    texts: Sequence[str],
    places: Sequence[Sequence[int]],
    starts: bool = False,
) -> tuple[list[list[int]], list[list[int]]]:
    """Returns the tokens of texts, and how many of them stand before places.

    Args:
        preprocessor: a `ContinuousThoughtPreprocessor`.
        texts: the texts.
        places: for each text the places, as numbers of characters.
        starts: bool. Whether the texts are questions and not responses, whose
            lines are tokenized separately. Defaults to `False`.

    Returns:
        A tuple of two lists with an entry for each text: its token ids, and
        the number of tokens before each of its places.

    Raises:
        ValueError: If a token stands on both sides of a place.

    Example:
    ```python
    ids, counts = count_tokens(model.preprocessor, ["start 3"], [[5]])
    ids[0][: counts[0][0]]  # The tokens of "start".
    ```
    """
    heads = list(
        dict.fromkeys(
            text[:place]
            for text, own in zip(texts, places)
            for place in own
            if place
        )
    )
    whole = list(dict.fromkeys(texts))
    all_texts = [*heads, *whole]
    ids = dict(zip(all_texts, _tokenize(preprocessor, all_texts, starts)))
    ids[""] = []
    counts = []
    for text, own in zip(texts, places):
        for place in own:
            before = ids[text[:place]]
            if ids[text][: len(before)] != before:
                raise ValueError(
                    "the tokenizer must not join what stands before a place in "
                    "a text and behind it in one token. Received: "
                    f"{shown(text[max(place - 20, 0) : place])} and "
                    f"{shown(text[place : place + 20])}"
                )
        counts.append([len(ids[text[:place]]) for place in own])
    return [ids[text] for text in texts], counts


def _tokenize(preprocessor, texts, starts) -> list[list[int]]:
    if starts:
        return preprocessor._tokenize(texts, starts=True)
    lines = [preprocessor._split(text) for text in texts]
    ids = iter(preprocessor._tokenize([line for own in lines for line in own]))
    return [[token for _ in own for token in next(ids)] for own in lines]
