"""Tiny models, tokenizers and batches that the tests make themselves."""

import pathlib
import re

import keras
import keras_hub
import numpy as np

PARITY = pathlib.Path(__file__).parent / "parity"


def parity_backbone(record, dropout=0.0, dtype=None):
    """The recorded tiny GPT-2 with its weights."""
    vocabulary, hidden, layers, heads, longest = record["config"].tolist()
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=vocabulary,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=hidden,
        intermediate_dim=4 * hidden,
        dropout=dropout,
        max_sequence_length=longest,
        dtype=dtype,
    )
    for variable, value in zip(
        parity_variables(backbone), parity_values(record, "weights", backbone)
    ):
        variable.assign(value)
    return backbone


def parity_variables(backbone):
    """The backbone's variables in the order of `parity_values`."""
    variables = [
        backbone.token_embedding.embeddings,
        backbone.position_embedding.position_embeddings,
        backbone.layer_norm.gamma,
        backbone.layer_norm.beta,
    ]
    for layer in backbone.transformer_layers:
        attention = layer._self_attention_layer
        variables += [
            layer._self_attention_layer_norm.gamma,
            layer._self_attention_layer_norm.beta,
        ]
        for dense in (
            attention.query_dense,
            attention.key_dense,
            attention.value_dense,
            attention.output_dense,
        ):
            variables += [dense.kernel, dense.bias]
        variables += [
            layer._feedforward_layer_norm.gamma,
            layer._feedforward_layer_norm.beta,
            layer._feedforward_intermediate_dense.kernel,
            layer._feedforward_intermediate_dense.bias,
            layer._feedforward_output_dense.kernel,
            layer._feedforward_output_dense.bias,
        ]
    return variables


def parity_values(record, kind, backbone):
    """Recorded weights or gradients, in the shapes of KerasHub's variables."""

    def get(name):
        return record[f"{kind}/transformer.{name}"]

    heads = backbone.num_heads
    size = backbone.hidden_dim // heads
    values = [get("wte.weight"), get("wpe.weight")]
    values += [get("ln_f.weight"), get("ln_f.bias")]
    for number in range(backbone.num_layers):
        block = f"h.{number}."
        values += [get(block + "ln_1.weight"), get(block + "ln_1.bias")]
        kernels = np.split(get(block + "attn.c_attn.weight"), 3, axis=1)
        biases = np.split(get(block + "attn.c_attn.bias"), 3)
        for kernel, bias in zip(kernels, biases):
            values += [
                kernel.reshape(-1, heads, size),
                bias.reshape(heads, size),
            ]
        values += [
            get(block + "attn.c_proj.weight").reshape(heads, size, -1),
            get(block + "attn.c_proj.bias"),
            get(block + "ln_2.weight"),
            get(block + "ln_2.bias"),
            get(block + "mlp.c_fc.weight"),
            get(block + "mlp.c_fc.bias"),
            get(block + "mlp.c_proj.weight"),
            get(block + "mlp.c_proj.bias"),
        ]
    return values


def parity_batch(record):
    """The recorded batch as `(x, y, sample_weight)` of the call contract."""
    ids, mask = record["input_ids"], record["attention_mask"]
    begin, end, _, _ = record["special_ids"]
    question = int(np.argmax(ids[0] == begin)) + 1
    response = int(np.argmax(ids[0] == end))
    x = {
        "question_ids": ids[:, :question],
        "question_mask": mask[:, :question],
        "thought_mask": mask[:, question:response],
        "response_ids": ids[:, response:],
        "response_mask": mask[:, response:],
    }
    x = {key: value.astype("int32") for key, value in x.items()}
    labels = np.roll(record["labels"][:, response:], -1, axis=1)
    labels[:, -1] = -100
    weights = (labels != -100).astype("float32")
    return x, np.maximum(labels, 0).astype("int32"), weights


WORDS = ("start", "###", " +", " -", " *")


def text_model(
    layers=2,
    dropout=0.0,
    dtype=None,
    seed=0,
    longest=64,
    markers=True,
    **kwargs,
):
    """A model of random weights, with a preprocessor, that reads any text.

    The weights come from NumPy and so are the same on every backend; they are
    larger than GPT-2's initial ones, so that thoughts and order matter.
    """
    import keras_coconut
    from keras_coconut.text.word_tokenizer import make_word_tokenizer

    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(WORDS), markers=markers
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        dropout=dropout,
        max_sequence_length=longest,
        dtype=dtype,
    )
    random = np.random.default_rng(seed)
    for variable in backbone.trainable_variables:
        if variable.path.endswith(("kernel", "embeddings")):
            variable.assign(random.normal(0, 0.3, variable.shape))
        elif variable.path.endswith("bias"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    return keras_coconut.ContinuousThoughtLM(backbone, preprocessor, **kwargs)


# Ann leads to c by one way of two steps and one of three; d lies aside.
GRAPH = {
    "idx_to_symbol": ["Ann", "Bob", "a", "b", "c", "d"],
    "edges": [[0, 2], [2, 4], [2, 3], [3, 4], [0, 5], [1, 5]],
    "root": 0,
    "target": 4,
    "neg_target": 5,
}


def edge_problem(shift=0):
    """A problem in symbols whose answer one edge turns around."""
    from keras_coconut import Problem

    root, wrong, one, two, target, end, leaf = (
        f"<{(node + shift) % 10}>" for node in range(7)
    )
    return Problem(
        f"|{root}{one}|{one}{target}|{wrong}{two}|{two}{end}|{wrong}{leaf}"
        f"?{end}{target}@{root}",
        [one, target],
        target,
        extra={
            "idx_to_symbol": [root, wrong, one, two, target, end, leaf],
            "edges": [[0, 2], [2, 4], [1, 3], [3, 5], [1, 6]],
            "root": 0,
            "target": 4,
            "neg_target": 5,
        },
    )


def problems(count=24, seed=0):
    """Problems of arithmetic with one to three steps, in turns."""
    from keras_coconut.datasets.arithmetic import make_arithmetic

    kinds = [
        make_arithmetic(count, num_operations=steps, seed=seed)
        for steps in (1, 2, 3)
    ]
    return [kinds[index % 3][index] for index in range(count)]


def gradients(model, x, y, weights, variables):
    """Gradients of the training loss by `variables`, as dense arrays."""
    import keras

    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True), weights)
        values = [variable.value for variable in variables]
        return [
            tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, values)
        ]
    if backend == "torch":
        for variable in variables:
            variable.value.grad = None
        loss = model.compute_loss(x, y, model(x, training=True), weights)
        loss.backward()
        return [variable.value.grad.numpy() for variable in variables]
    import jax

    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    def loss_of(trainable):
        y_pred, _ = model.stateless_call(trainable, fixed, x, training=True)
        return model.compute_loss(x, y, y_pred, weights)

    # One program compiles faster than its operations one by one.
    slope = jax.jit(jax.grad(loss_of))(trainable)
    found = dict(zip(map(id, model.trainable_variables), slope))
    return [np.asarray(found[id(variable)]) for variable in variables]


def curriculum_losses():
    """Losses of a `fit` through all stages, with fixed weights and batches."""
    import keras

    import keras_coconut

    model = text_model()
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.01))
    curriculum = keras_coconut.Curriculum(
        max_stage=2, thoughts_per_step=2, mixing_probability=0.1
    )
    dataset = keras_coconut.CurriculumDataset(
        problems(24), model.preprocessor, curriculum, batch_size=8
    )
    return model.fit(
        dataset,
        epochs=4,
        verbose=0,
        callbacks=[keras_coconut.CurriculumScheduler(dataset)],
    ).history["loss"]


def short(value):
    """A test's name, where the data would be one of a megabyte.

    It is the same in every process, as pytest-xdist needs it.
    """
    from keras_coconut.checks import shown

    return re.sub(" at 0x[0-9a-f]+", "", shown(value))[:40]


def logits(model, x):
    """Logits as an array, compiled where the backend compiles.

    Eager calls on JAX compile every small operation for every shape.
    """
    return model.predict_on_batch(x)


def loops_in_python():
    """A context in which a loop that runs eagerly calls its body each time."""
    import contextlib

    import keras

    if keras.config.backend() == "jax":
        import jax

        return jax.disable_jit()
    return contextlib.nullcontext()


def call_while_running(function):
    """Lets the program that is being traced call a function when it runs."""
    import keras

    if keras.config.backend() == "jax":
        import jax

        jax.debug.callback(function)
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.py_function(function, [], [])
    else:
        function()


def wait():
    """Waits for what `call_while_running` still has to call."""
    import keras

    if keras.config.backend() == "jax":
        import jax

        jax.effects_barrier()


def compiled(model, optimizer=None, **kwargs):
    """Compiles a model the quick way: XLA only where there is no other."""
    import keras

    if keras.config.backend() != "jax":
        kwargs.setdefault("jit_compile", False)
    model.compile(optimizer or keras.optimizers.AdamW(1e-2), **kwargs)
    return model


def as_new(model, weights, learning_rate=1e-2):
    """Returns a compiled model to where it began, but for what it compiled."""
    from keras_coconut.training.curriculum_scheduler import restart_optimizer

    model.set_weights(weights)
    restart_optimizer(model.optimizer, model)
    model.optimizer.learning_rate = learning_rate
    model.optimizer.iterations.assign(0)
    model.num_thoughts, model.thought_kind = None, "continuous"
    model.stop_training = False
    if keras.config.backend() == "torch":
        # `zero_grad` knows no weight before the first step.
        for variable in model.weights:
            variable.value.grad = None
    return model


# By the number of layers: a model, its first weights, and what it is.
_SHARED = {}


def shared(layers=1):
    """A compiled model as it began, with what it compiled for other tests.

    A test that makes something else of it gets the next one a new model.
    """
    model, weights, before = _SHARED.get(layers, (None, None, None))
    if model is None or not _is_what_it_was(model, before):
        model = compiled(text_model(layers))
        weights, before = model.get_weights(), _parts(model)
        _SHARED[layers] = model, weights, before
    # What the last `fit` of problems leaves for `evaluate`.
    model.__dict__.pop("_last_epoch", None)
    return as_new(model, weights)


def forget_shared():
    """Lets the models of `shared` go."""
    _SHARED.clear()


def _parts(model):
    """What decides which programs a model has, but for shapes.

    The objects themselves: another one may get the number of one that is gone.
    """
    overridden = sorted(
        name
        for name in vars(model)
        # Such as a method that a test has replaced.
        if callable(getattr(type(model), name, None))
    )
    return [
        model.optimizer,
        model.sampler,
        model.preprocessor,
        model.backbone,
        *model.weights,
        *(variable.trainable for variable in model.weights),
        model.run_eagerly,
        model.jit_compile,
        model.steps_per_execution,
        model.trainable,
        *overridden,
    ]


def _is_what_it_was(model, before):
    now = _parts(model)
    return len(now) == len(before) and all(
        one is other or (isinstance(one, str | int) and one == other)
        for one, other in zip(now, before)
    )
