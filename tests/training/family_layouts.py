"""A layer of each family on several devices and on one, as JSON on a line each.

    KERAS_BACKEND=jax python tests/training/family_layouts.py

`test_model_parallel.py` reads it. One process, since most of the time goes into
starting one.
"""

import json
import pathlib
import sys

# What every device has the whole of.
WHOLE = ("scale", "gamma", "beta", "position_embeddings", "inv_freq")


def layer_of(family):
    import families

    # One layer is enough: a layout does not depend on its number.
    families._COMMON["num_layers"] = families._DEEP["num_layers"] = 1
    backbone = families.FAMILIES[family]()
    set_weights(backbone.trainable_variables)
    return backbone


def set_weights(variables):
    """Sets weights near one and zero; every one of them matters."""
    import numpy as np

    # In NumPy, which compiles nothing.
    random = np.random.default_rng(0)
    for variable in variables:
        mean = 1.0 if variable.path.endswith(("scale", "gamma")) else 0.0
        variable.assign(random.normal(mean, 0.15, variable.shape))


def is_divided(variable):
    axes = variable.value.sharding.spec
    shards = variable.value.addressable_shards
    part = shards[0].data.size / variable.value.size
    assert part == (0.5 if "model" in axes else 1.0), variable.path
    return "model" in axes


def divided_and_whole(variables):
    """Paths of matrices and biases, without what is always whole."""
    found = {True: [], False: []}
    for variable in variables:
        if not variable.path.endswith(WHOLE):
            found[is_divided(variable)].append(variable.path)
    return found[True], found[False]


def loss_and_gradients(backbone):
    """A loss, and the sum of each gradient's absolute values."""
    import families
    import jax
    import keras
    import numpy as np

    inputs = {
        "token_ids": families.tokens((4, 6)),
        "padding_mask": np.ones((4, 6), "int32"),
    }
    distribution = keras.distribution.distribution()
    if distribution is not None:
        layout = distribution.get_data_layout((4, 6)).backend_layout
        inputs = jax.device_put(inputs, layout)
    fixed = [v.value for v in backbone.non_trainable_variables]

    @jax.jit
    def compute(trainable, inputs):
        def loss_of(trainable):
            scope = zip(backbone.trainable_variables, trainable)
            hidden, _ = backbone.stateless_call(trainable, fixed, inputs)
            with keras.StatelessScope(scope):
                logits = backbone.token_embedding(hidden, reverse=True)
            return jax.nn.logsumexp(logits, axis=-1).mean()

        return jax.value_and_grad(loss_of)(trainable)

    trainable = [v.value for v in backbone.trainable_variables]
    loss, gradients = compute(trainable, inputs)
    return [
        float(loss),
        *(float(np.abs(np.asarray(g)).sum()) for g in gradients),
    ]


def compare(family, change=None, model_parallel=2):
    import keras

    import keras_coconut

    found = []
    for devices in ((1, 1), (4, model_parallel)):
        with keras_coconut.distribute(*devices):
            backbone = layer_of(family)
            if change is not None:
                backbone = change(backbone)
            found.append(loss_and_gradients(backbone))
            optimizer = keras.optimizers.SGD(momentum=0.9)
            optimizer.build(backbone.trainable_variables)
    divided, whole = divided_and_whole(backbone.weights)
    trainable = backbone.trainable_variables
    slots = optimizer.variables[-len(trainable) :]
    return {
        "found": found,
        "divided": divided,
        "whole": whole,
        "slots": [
            slot.value.sharding.spec == weight.value.sharding.spec
            for slot, weight in zip(slots, trainable, strict=True)
        ],
    }


def with_lora(backbone):
    backbone.enable_lora(2, ["query", "attention_output", "token_embedding"])
    set_weights(backbone.trainable_variables)
    return backbone


def grown(backbone):
    from keras_coconut.backbones import growth

    # 51 tokens: two devices can only share the hidden dimension.
    return growth.grow(backbone, [50], prototype=3)


def refused(family, model_parallel):
    import keras_coconut

    try:
        with keras_coconut.distribute(model_parallel, model_parallel):
            layer_of(family)
    except ValueError as error:
        return str(error)


def main():
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    import jax

    jax.config.update("jax_num_cpu_devices", 4)
    import families

    for family in families.FAMILIES:
        # The positions of its scaled kind are no matter of a layout.
        if family != "phi3_su":
            print(json.dumps({"name": family, **compare(family)}), flush=True)
    for name, family, change in (
        ("gpt2 with LoRA", "gpt2", with_lora),
        ("grown llama", "llama", grown),
    ):
        print(json.dumps({"name": name, **compare(family, change)}), flush=True)
    # Three devices cannot share four heads.
    print(json.dumps({"name": "refused", "error": refused("llama", 3)}))


if __name__ == "__main__":
    main()
