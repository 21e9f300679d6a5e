"""Which axis of a weight is divided if several devices share each layer.

As in Megatron-LM (arXiv 1909.08053), the first kernels of attention and of the
feed-forward are divided by their outputs, the heads and the width. The second
kernels are divided by their inputs, so a layer sums over the devices twice.
Norms, and biases of these sums, are whole on every device.

KerasHub's own `get_layout_map` is not used: three families have one, those of
Llama and Qwen divide the heads among the devices that divide the batch (their
axes are in the order of Gemma's kernels), and all of them need a vocabulary
that divides evenly, which one that has grown by a marker does not.
"""

from collections.abc import Sequence

from keras_coconut.checks import shown

# For each variable of a layer, the axis that is divided. D hidden, H heads or
# groups of keys, S size of a head, F width. The adapters of LoRA have the axes
# of the kernel, but for the last, and the last.
_HEADS = {"kernel": 1, "bias": 0, "lora_kernel_a": 1}  # (D, H, S)
_HEADS_FIRST = {"kernel": 0, "lora_kernel_a": 0}  # (H, D, S)
_WIDTH = {"kernel": 1, "bias": 0, "lora_kernel_b": 1}  # (D, F)
_ADDED_UP = {"kernel": 0, "lora_kernel_a": 0}  # (H, S, D) or (F, D)
_LAYERS = {
    "query": _HEADS,
    "key": _HEADS,
    "value": _HEADS,
    "query_key_value": _HEADS,
    "attention_output": _ADDED_UP,
    "feedforward_intermediate_dense": _WIDTH,
    "feedforward_gate_dense": _WIDTH,
    "feedforward_output_dense": _ADDED_UP,
    # Gemma's.
    "ffw_gating": _WIDTH,
    "ffw_gating_2": _WIDTH,
    "ffw_linear": _ADDED_UP,
    # SmolLM3's, whose heads follow one another in the last axis.
    "q_proj": _WIDTH,
    "k_proj": _WIDTH,
    "v_proj": _WIDTH,
    "o_proj": _ADDED_UP,
    "gate_proj": _WIDTH,
    "up_proj": _WIDTH,
    "down_proj": _ADDED_UP,
}
_OF_GEMMA = dict.fromkeys(("query", "key", "value"), _HEADS_FIRST)
# By the vocabulary, so that the logits are divided, else by the hidden size.
_EMBEDDING = {
    "embeddings": (0, 1),  # (V, D)
    "reverse_embeddings": (1, 0),  # (D, V)
    "lora_embeddings_a": (0,),  # (V, rank)
}


def divided_axis(
    path: str, shape: Sequence[int], model_parallel: int
) -> int | None:
    """Returns the axis of a weight that is divided, or `None`.

    Args:
        path: string, the `path` of a variable of a backbone.
        shape: ints, its shape.
        model_parallel: int. Number of devices that divide it.

    Raises:
        ValueError: If these devices cannot share the weight evenly.

    Example:
    ```python
    divided_axis("transformer_layer_0/self_attention/query/kernel",
                 (768, 12, 64), 4)  # 1, the heads
    ```
    """
    layer, name = ("", *path.split("/"))[-2:]
    if layer == "token_embedding":
        return _axis_of_an_embedding(path, name, shape, model_parallel)
    layers = _LAYERS
    if "decoder_block" in path:
        layers = {**_LAYERS, **_OF_GEMMA}
    axis = layers.get(layer, {}).get(name)
    if axis is None or shape[axis] % model_parallel == 0:
        return axis
    if layer in ("key", "value") and model_parallel % shape[axis] == 0:
        # Fewer groups of keys than devices: each has all of them, as is usual.
        return None
    raise _uneven(path, shape, (axis,), model_parallel)


def _axis_of_an_embedding(path, name, shape, model_parallel):
    axes = _EMBEDDING.get(name, ())
    for axis in axes:
        if shape[axis] % model_parallel == 0:
            return axis
    if name.startswith("lora") or not axes:
        return None
    raise _uneven(path, shape, axes, model_parallel)


def _uneven(path, shape, axes, model_parallel):
    sizes = " or ".join(str(shape[axis]) for axis in axes)
    return ValueError(
        f"`model_parallel` must divide {sizes}, the size of what devices "
        f"share of {path!r} of shape {tuple(shape)}. Received: "
        f"model_parallel={shown(model_parallel)}"
    )
