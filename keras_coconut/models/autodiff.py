"""Gradients of our own making, on three backends.

Keras has `ops.custom_gradient` but nothing that asks for a gradient inside it,
and its loops have none on JAX or under XLA. These few functions fill that gap;
each says what its backend needs. They are called while a step is computed and
hold no state.
"""

import functools

import keras
from keras import tree


def with_gradient(forward, backward, args, constants):
    """Computes `forward(args, constants)`, with `backward` as its gradient.

    Args:
        forward: function of `args` and `constants` that returns a structure of
            tensors.
        backward: function of `args`, `constants`, the outputs and their
            cotangents that returns the cotangents of `args`, in its structure.
        args: structure of float tensors.
        constants: structure of tensors that take no gradient.

    Returns:
        What `forward` returns.
    """
    return _IMPLEMENTATIONS[keras.config.backend()][0](
        forward, backward, args, constants
    )


def pullback(function, args):
    """Returns `function(*args)` and what leads back from it to `args`.

    Args:
        function: function that returns a structure of float tensors.
        args: tuple of structures of float tensors.

    Returns:
        A tuple of the outputs and of a function that takes their cotangents,
        in the structure of the outputs, and returns those of `args`. It may
        be called once.
    """
    return _IMPLEMENTATIONS[keras.config.backend()][1](function, args)


def rematerialized(function, *args):
    """Returns `function(*args)`; keeps nothing but `args` for its gradient.

    Args:
        function: function that may read no variable and draw no random number
            but through its arguments; on PyTorch it may draw.
        *args: structures of tensors.
    """
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.checkpoint(function)(*args)
    if backend == "torch":
        import torch

        if not torch.is_grad_enabled():
            return function(*args)
        return torch.utils.checkpoint.checkpoint(
            function, *args, use_reentrant=False
        )
    import tensorflow as tf

    structures = {}

    @tf.recompute_grad
    def flat_function(*flat):
        outputs = function(*tree.pack_sequence_as(args, flat))
        structures["outputs"] = _structure(outputs)
        return tuple(tree.flatten(outputs))

    flat = [tf.convert_to_tensor(x) for x in tree.flatten(args)]
    flat = flat_function(*flat)
    return tree.pack_sequence_as(structures["outputs"], flat)


def has_values(tensor) -> bool:
    """Whether a tensor's numbers can be looked at, and not its shape alone."""
    if isinstance(tensor, keras.KerasTensor):
        return False
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.is_symbolic_tensor(tensor)
    import torch

    if torch.compiler.is_compiling():
        return False
    return not (torch.is_tensor(tensor) and tensor.is_meta)


def tables_are_best_plain() -> bool:
    """Whether `take_rows` and `multiply_by_rows` beat a layer of Keras.

    On PyTorch the gradient of a lookup is a table as large as what it read,
    zeros but for a few rows. For the vocabulary of GPT-2, to fill one and to
    add it to another takes a fifteenth of a step on a CPU. And there are two
    ways to multiply; see `torch_products`.
    """
    return keras.config.backend() == "torch"


def take_rows(table, ids):
    """Looks up rows of a table that is multiplied by besides, on PyTorch.

    The gradient of the rows is added to that of the product in place.

    Args:
        table: float tensor (rows, D).
        ids: int tensor.

    Returns:
        A tuple of the rows, (*ids.shape, D), and of the table to multiply by.
    """
    return _torch_lookup().apply(table, ids)


def multiply_by_rows(x, table):
    """Returns `x @ table.T`, on PyTorch.

    Args:
        x: float tensor (..., D).
        table: float tensor (rows, D).
    """
    return _torch_multiply_by_rows().apply(x, table)


def keep_products(function, *args):
    """Returns `function(*args)`; on JAX keeps matrix products for its gradient.

    Inside a loop JAX would keep whatever any derivative wants. Outside XLA sees
    what is cheap to compute again; here it has to be told. Products with
    weights are kept; the attention's scores grow with the square of the length
    and take hardly any time to compute again.
    """
    if keras.config.backend() != "jax":
        return function(*args)
    import jax

    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return jax.checkpoint(function, policy=policy, prevent_cse=False)(*args)


def graphs_keep_all(compiled) -> bool:
    """Whether a graph keeps all that gradients want, cheap or not.

    In TensorFlow's, if no compiler sees it. On JAX there is `keep_products`;
    operations that run one by one would compute products again as well.

    Args:
        compiled: bool. Whether XLA compiles TensorFlow's graphs.
    """
    if keras.config.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not compiled and not tf.executing_eagerly()


def compiles_what_it_repeats() -> bool:
    """Whether equal layers one after another each take their time to compile.

    On JAX, where a loop with a gradient avoids it. On TensorFlow `ops.scan`
    fails on results of different shapes; PyTorch compiles nothing.
    """
    return keras.config.backend() == "jax"


def trips(times, at_most):
    """Returns how often a `fori_loop` should run whose times are a tensor.

    Args:
        times: int tensor.
        at_most: int. PyTorch, which would have to wait for the device to learn
            `times`, takes this instead.
    """
    return at_most if keras.config.backend() == "torch" else times


def _jax_with_gradient(forward, backward, args, constants):
    import jax

    # Whatever is traced must be an argument: a `custom_vjp` may not close over
    # what the caller differentiates.
    @jax.custom_vjp
    def call(args, constants):
        return forward(args, constants)

    def call_forward(args, constants):
        outputs = forward(args, constants)
        return outputs, (args, constants, outputs)

    def call_backward(saved, cotangents):
        return backward(*saved, cotangents), None

    call.defvjp(call_forward, call_backward)
    return call(args, constants)


def _jax_pullback(function, args):
    import jax

    return jax.vjp(function, *args)


def _tensorflow_with_gradient(forward, backward, args, constants):
    import tensorflow as tf

    structures = {}

    @tf.custom_gradient
    def call(*flat):
        inputs = tree.pack_sequence_as((args, constants), flat)
        outputs = forward(*inputs)
        structures["outputs"] = _structure(outputs)

        def gradient(*cotangents):
            cotangents = tree.pack_sequence_as(outputs, cotangents)
            found = tree.flatten(backward(*inputs, outputs, cotangents))
            return found + [None] * (len(flat) - len(found))

        return tree.flatten(outputs), gradient

    # Read here: a variable inside would want a gradient of its own.
    flat = [tf.convert_to_tensor(x) for x in tree.flatten((args, constants))]
    flat = call(*flat)
    return tree.pack_sequence_as(structures["outputs"], flat)


def _tensorflow_pullback(function, args):
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tree.flatten(args))
        outputs = function(*args)

    def pull(cotangents):
        found = tape.gradient(
            tree.flatten(outputs),
            tree.flatten(args),
            output_gradients=tree.flatten(cotangents),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tree.pack_sequence_as(args, found)

    return outputs, pull


def _torch_with_gradient(forward, backward, args, constants):
    structures = {"inputs": _structure((args, constants))}
    flat = _torch_function().apply(
        forward, backward, structures, *tree.flatten((args, constants))
    )
    return tree.pack_sequence_as(structures["outputs"], flat)


@functools.cache
def _torch_function():
    import torch

    # Nothing here may hold a tensor but by `save_for_backward`: a step's
    # activations would wait for the garbage collector.
    class Call(torch.autograd.Function):
        @staticmethod
        def forward(ctx, forward, backward, structures, *flat):
            flat = [tensor.detach() for tensor in flat]
            inputs = tree.pack_sequence_as(structures["inputs"], flat)
            outputs = forward(*inputs)
            structures["outputs"] = _structure(outputs)
            outputs = tree.flatten(outputs)
            ctx.save_for_backward(*flat, *outputs)
            ctx.function, ctx.structures = backward, structures
            return tuple(outputs)

        @staticmethod
        def backward(ctx, *cotangents):
            inputs, outputs = ctx.structures.values()
            saved = [tensor.detach() for tensor in ctx.saved_tensors]
            args, constants, outputs_ = tree.pack_sequence_as(
                (*inputs, outputs), saved
            )
            cotangents = tree.pack_sequence_as(outputs, cotangents)
            found = ctx.function(args, constants, outputs_, cotangents)
            nothing = [None] * len(tree.flatten(inputs[1]))
            return (None, None, None, *tree.flatten(found), *nothing)

    return Call


@functools.cache
def _torch_lookup():
    import torch

    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx, table, ids):
            ctx.save_for_backward(ids)
            rows = torch.nn.functional.embedding(ids, table)
            return rows, table.view_as(table)

        @staticmethod
        def backward(ctx, by_rows, by_table):
            (ids,) = ctx.saved_tensors
            by_table.index_add_(0, ids.flatten(), by_rows.flatten(0, -2))
            return by_table, None

    return Lookup


@functools.cache
def _torch_multiply_by_rows():
    import torch

    # Here, since it needs PyTorch.
    from keras_coconut.models import torch_products

    class MultiplyByRows(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, table):
            ctx.save_for_backward(x, table)
            y = torch_products.multiply(x.flatten(0, -2), table.mT)
            return y.unflatten(0, x.shape[:-1])

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, by_y):
            x, table = ctx.saved_tensors
            by_y, by_x, by_table = by_y.flatten(0, -2), None, None
            if ctx.needs_input_grad[0]:
                by_x = torch_products.multiply(by_y, table).view_as(x)
            if ctx.needs_input_grad[1]:
                by_table = torch_products.multiply_by_transpose(
                    by_y, x.flatten(0, -2)
                )
            return by_x, by_table

    return MultiplyByRows


def _structure(tensors):
    return tree.map_structure(lambda _: 0, tensors)


def _torch_pullback(function, args):
    import torch

    with torch.enable_grad():
        flat = [arg.detach().requires_grad_() for arg in tree.flatten(args)]
        outputs = function(*tree.pack_sequence_as(args, flat))

    def pull(cotangents):
        # With some weights frozen, an output may depend on no argument.
        pairs = [
            pair
            for pair in zip(tree.flatten(outputs), tree.flatten(cotangents))
            if pair[0].requires_grad
        ]
        if not pairs:
            return tree.map_structure(torch.zeros_like, args)
        differentiable, cotangents = zip(*pairs)
        found = torch.autograd.grad(
            differentiable, flat, cotangents, materialize_grads=True
        )
        return tree.pack_sequence_as(args, found)

    return tree.map_structure(lambda x: x.detach(), outputs), pull


_IMPLEMENTATIONS = {
    "jax": (_jax_with_gradient, _jax_pullback),
    "tensorflow": (_tensorflow_with_gradient, _tensorflow_pullback),
    "torch": (_torch_with_gradient, _torch_pullback),
}
