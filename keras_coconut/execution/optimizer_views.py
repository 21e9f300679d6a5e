"""Views of an optimizer: the same state, a different update.

An optimizer belongs to the user and stays unchanged; a view of it takes its
place while a training step is traced or run.
"""


def innermost(optimizer):
    """Returns the optimizer inside a `LossScaleOptimizer`, or the optimizer.

    Example:
    ```python
    innermost(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)))
    ```
    """
    return getattr(optimizer, "inner_optimizer", optimizer)


def view(optimizer, make_class):
    """Returns an optimizer with the same state and another class.

    If the optimizer is wrapped, the wrapper stays.

    Args:
        optimizer: a `keras.Optimizer`.
        make_class: function that takes its class and returns a subclass.

    Example:
    ```python
    view(keras.optimizers.SGD(0.1), lambda kind: type("Mine", (kind,), {}))
    ```
    """
    inner = innermost(optimizer)
    if inner is optimizer:
        return _view(make_class(type(optimizer)), optimizer.__dict__)
    attributes = {**optimizer.__dict__}
    attributes["inner_optimizer"] = view(inner, make_class)
    return _view(type(optimizer), attributes)


def _view(kind, attributes):
    made = object.__new__(kind)
    object.__setattr__(made, "__dict__", attributes)
    return made
