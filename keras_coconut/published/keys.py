"""The keys of published files, and which of them are the model's weights."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from keras_coconut.checks import shown
from keras_coconut.published.configs import GPT2, LLAMA
from keras_coconut.published.source import Source
from keras_coconut.published.tensors import StoredTensor

# The prefix of the names of all of a decoder's weights.
ROOTS = {GPT2: "transformer.", LLAMA: "model."}
_EMBEDDINGS = {GPT2: "wte.weight", LLAMA: "embed_tokens.weight"}
HEAD = "lm_head.weight"
# The module that holds the model in the published code of Coconut, and what it
# keeps beside it: its embedding, a second time.
WRAPPER = "base_causallm."
WRAPPERS_EMBEDDING = "embedding.weight"
# `DistributedDataParallel`, `torch.compile` and Coconut.
_PREFIXES = ("module.", "_orig_mod.", WRAPPER)
# Tables that a model computes and some releases save.
_BUFFERS = re.compile(
    r"(h\.\d+\.)?attn\.(bias|masked_bias)"
    r"|(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"
)
# Keys that tell of another method, in the order in which they are looked for:
# SIM-CoT builds on CODI, which may use LoRA.
_OTHERS = (
    (
        "SIM-CoT, which trains a decoder of its own for the steps",
        re.compile(r"expainable_llm\.|decoder\.|pj_in\.|pj_out\."),
    ),
    (
        "CODI, whose thoughts go through a projection and which is trained "
        "otherwise",
        re.compile(r"codi\.|prj\."),
    ),
    (
        "adapters of LoRA, which PEFT's `merge_and_unload` makes part of the "
        "weights",
        re.compile(r".*\blora_|base_model\.model\."),
    ),
)


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """The weights of a model under their names in Hugging Face's layout.

    Args:
        kind: `"gpt2"` or `"llama"`.
        tensors: dictionary of `StoredTensor`s, named as `shapes` names them.
        wrapped: bool. Whether the file was saved from Coconut's own module, so
            that the embedding holds trained rows for the marker tokens.
    """

    kind: str
    tensors: Mapping[str, StoredTensor]
    wrapped: bool

    @property
    def vocabulary_size(self) -> int:
        """How many rows the embedding has."""
        return self.tensors[embedding_name(self.kind)].shape[0]


def embedding_name(kind: str) -> str:
    """Returns the name of the token embedding."""
    return ROOTS[kind] + _EMBEDDINGS[kind]


def find_weights(
    source: Source, kind: str, tensors: Mapping[str, StoredTensor]
) -> PublishedWeights:
    """Returns the weights among the tensors of a file, prefixes taken off.

    Raises:
        ValueError: If the file holds another method's parts, two tensors for
            one weight, or no token embedding; names the key.
    """
    bare = {}
    for key in tensors:
        name = key
        while name.startswith(_PREFIXES):
            name = name[name.index(".") + 1 :]
        if name in bare:
            raise source.refuse(f"the keys {bare[name]!r} and {key!r}")
        bare[name] = key
    for method, pattern in _OTHERS:
        for name, key in bare.items():
            if pattern.match(name):
                raise source.refuse(f"the key {shown(key)} of {method}")
    root = ROOTS[kind]
    found, copies = {}, {}
    for name, key in bare.items():
        inner = name.removeprefix(root)
        if _BUFFERS.fullmatch(inner):
            continue
        if name == WRAPPERS_EMBEDDING:
            copies[key] = tensors[key]
            continue
        full = HEAD if name == HEAD else root + inner
        if full in found:
            raise source.refuse(f"the key {shown(key)} twice, as {full!r} too")
        found[full] = tensors[key]
    embedding = found.get(embedding_name(kind))
    if embedding is None or len(embedding.shape) != 2:
        raise source.refuse(
            f"no matrix {embedding_name(kind)!r} among its {len(tensors)} keys"
        )
    check_copies(source, copies, embedding)
    wrapped = bool(copies) or any(WRAPPER in key for key in tensors)
    return PublishedWeights(kind, found, wrapped)


def check_copies(
    source: Source, copies: Mapping[str, StoredTensor], embedding: StoredTensor
) -> None:
    """Raises a `ValueError` for a tensor that differs from the embedding."""
    for key, copy in copies.items():
        if copy.shape != embedding.shape or not np.array_equal(
            copy.read(), embedding.read()
        ):
            raise source.refuse(
                f"the key {key!r}, which differs from the token embedding "
                "that it should be"
            )
