"""Backbones from scratch: the families, and the sizes that each takes.

Nothing here imports Keras until a backbone is made.
"""

import dataclasses

from absl import app, flags
from flag_sections import given

FLAGS = flags.FLAGS
# What only some families take.
SIZES = ("num_key_value_heads", "head_dim", "dropout")
_GROUPED = ("num_key_value_heads", "dropout")
_OWN_HEAD_DIM = ("head_dim", *_GROUPED)


@dataclasses.dataclass(frozen=True)
class Family:
    """How a family's sizes are named and what they must be.

    Args:
        backbone: string, its class in `keras_hub.models`.
        takes: which of `SIZES` it takes.
        heads: string, its argument for the number of heads.
        positions: string, its argument for the most positions, if it has one.
        head_multiple: int. A head's size is a multiple of it, because of the
            positions.
        options: what the family's published models set.
    """

    backbone: str
    takes: tuple[str, ...] = _GROUPED
    heads: str = "num_query_heads"
    positions: str | None = None
    head_multiple: int = 2
    options: dict = dataclasses.field(default_factory=dict)


_OF_OPT = dict(
    takes=("dropout",),
    heads="num_heads",
    positions="max_sequence_length",
    head_multiple=1,
)
_GEMMA_2 = dict(
    query_head_dim_normalize=False,
    use_post_ffw_norm=True,
    use_post_attention_norm=True,
    attention_logit_soft_cap=50.0,
    final_logit_soft_cap=30.0,
    use_sliding_window_attention=True,
)
_GEMMA_3 = dict(
    image_size=None,
    vision_encoder=None,
    use_post_ffw_norm=True,
    use_post_attention_norm=True,
    use_sliding_window_attention=True,
)
FAMILIES = {
    "gpt2": Family("GPT2Backbone", **_OF_OPT),
    "opt": Family("OPTBackbone", **_OF_OPT),
    # Positions turn a quarter of each head.
    "gpt_neo_x": Family("GPTNeoXBackbone", **{**_OF_OPT, "head_multiple": 8}),
    "llama": Family("LlamaBackbone"),
    "llama3": Family("Llama3Backbone"),
    "mistral": Family("MistralBackbone", _OWN_HEAD_DIM),
    "qwen": Family("QwenBackbone"),
    "qwen3": Family("Qwen3Backbone", _OWN_HEAD_DIM),
    "phi3": Family("Phi3Backbone", positions="max_sequence_length"),
    "smollm3": Family(
        "SmolLM3Backbone",
        ("num_key_value_heads",),
        heads="num_attention_heads",
        positions="max_position_embeddings",
        options=dict(
            attention_bias=False,
            attention_dropout=0.0,
            mlp_bias=False,
            layer_norm_epsilon=1e-6,
            rope_theta=10_000.0,
            partial_rotary_factor=1.0,
        ),
    ),
    "gemma": Family("GemmaBackbone", _OWN_HEAD_DIM),
    "gemma2": Family("GemmaBackbone", _OWN_HEAD_DIM, options=_GEMMA_2),
    "gemma3": Family("Gemma3Backbone", _OWN_HEAD_DIM, options=_GEMMA_3),
}


def check_sizes():
    """Raises a `UsageError` for sizes of which no backbone can be made."""
    family = FAMILIES[FLAGS.family]
    for name in given(SIZES):
        if name not in family.takes:
            others = [n for n, f in FAMILIES.items() if name in f.takes]
            raise app.UsageError(
                f"--{name} must be left out with --family={FLAGS.family}: it "
                f"is for {', '.join(others)}. Received: --{name}="
                f"{FLAGS[name].value}"
            )
    if FLAGS.head_dim is None and FLAGS.hidden_dim % FLAGS.num_heads:
        raise app.UsageError(
            "--num_heads must divide --hidden_dim. Received: "
            f"--num_heads={FLAGS.num_heads} and --hidden_dim={FLAGS.hidden_dim}"
        )
    if _head_dim() % family.head_multiple:
        raise app.UsageError(
            f"--family={FLAGS.family} needs heads whose size is a multiple of "
            f"{family.head_multiple}. Received: {_head_dim()}, of --hidden_dim="
            f"{FLAGS.hidden_dim} and --num_heads={FLAGS.num_heads}"
        )
    if FLAGS.num_heads % _key_value_heads():
        raise app.UsageError(
            "--num_key_value_heads must divide --num_heads. Received: "
            f"--num_key_value_heads={FLAGS.num_key_value_heads} and "
            f"--num_heads={FLAGS.num_heads}"
        )


def make_backbone(vocabulary_size):
    """Returns a new backbone of the sizes that the flags ask for."""
    import keras_hub

    family = FAMILIES[FLAGS.family]
    sizes = dict(
        vocabulary_size=vocabulary_size,
        num_layers=FLAGS.num_layers,
        hidden_dim=FLAGS.hidden_dim,
        intermediate_dim=FLAGS.intermediate_dim or 4 * FLAGS.hidden_dim,
        dtype=FLAGS.dtype,
        **family.options,
    )
    sizes[family.heads] = FLAGS.num_heads
    if family.positions:
        sizes[family.positions] = FLAGS.sequence_length
    taken = {
        "num_key_value_heads": _key_value_heads(),
        "head_dim": _head_dim(),
        "dropout": FLAGS.dropout,
    }
    sizes.update((name, taken[name]) for name in family.takes)
    if FLAGS.family == "smollm3":
        # Every fourth layer does without positions.
        layers = range(1, FLAGS.num_layers + 1)
        sizes["rope_layer_enabled_list"] = [bool(n % 4) for n in layers]
        sizes["layer_types"] = ["full_attention"] * FLAGS.num_layers
    return getattr(keras_hub.models, family.backbone)(**sizes)


def _key_value_heads():
    return FLAGS.num_key_value_heads or FLAGS.num_heads


def _head_dim():
    return FLAGS.head_dim or FLAGS.hidden_dim // FLAGS.num_heads
