"""Tokenizers that split a text where a published file says so.

KerasHub's tokenizers do not split a text; see `tokenization`. A published
model was trained on tokens that never cross a split.
"""

from typing import Any

import keras_hub

from keras_coconut.text import byte_pairs
from keras_coconut.text.registration import register


class SplitTokenizer(keras_hub.tokenizers.BytePairTokenizer):
    """Byte pairs within the pieces of a text.

    Args:
        vocabulary, merges: see `keras_hub.tokenizers.BytePairTokenizer`.
        split: string. The `pre_tokenizer` of a `tokenizer.json`, in JSON.
        ignore_merges: bool. Whether a piece that is a token stays whole, even
            if no merges make it. Defaults to `False`.
        **kwargs: See the tokenizer of the family.

    Example:
    ```python
    SplitGPT2Tokenizer(
        tokenizer.vocabulary,
        tokenizer.merges,
        split='{"type": "ByteLevel", "add_prefix_space": false, '
        '"trim_offsets": true, "use_regex": true}',
    )
    ```
    """

    # By this KerasHub looks for its own tokenizer of a family.
    backbone_cls = None

    def __init__(
        self,
        vocabulary: Any = None,
        merges: Any = None,
        *,
        split: str,
        ignore_merges: bool = False,
        **kwargs: Any,
    ) -> None:
        self.split = split
        self.ignore_merges = ignore_merges
        super().__init__(vocabulary=vocabulary, merges=merges, **kwargs)

    def _set_vocabulary_and_merges_tokenizers(self, vocabulary, merges):
        super()._set_vocabulary_and_merges_tokenizers(vocabulary, merges)
        self._tokenizer = byte_pairs.make(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "split": self.split,
            "ignore_merges": self.ignore_merges,
        }


@register
class SplitGPT2Tokenizer(SplitTokenizer, keras_hub.tokenizers.GPT2Tokenizer):
    """GPT-2's tokenizer of a published file; see `SplitTokenizer`."""

    backbone_cls = None


@register
class SplitLlama3Tokenizer(
    SplitTokenizer, keras_hub.tokenizers.Llama3Tokenizer
):
    """Llama 3's tokenizer of a published file; see `SplitTokenizer`."""

    backbone_cls = None
