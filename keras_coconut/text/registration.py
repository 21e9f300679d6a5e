"""The names under which Keras finds classes that presets and files mention."""

from typing import TypeVar

import keras

_Class = TypeVar("_Class", bound=type)

# The package name in files. Errors of Keras and KerasHub show it to anyone who
# opens a file without this library. Files keep it, so a name that was written
# once has to stay here.
_WRITTEN = "keras_coconut (install it, then `import keras_coconut`)"
_KNOWN = ("keras_coconut", _WRITTEN)


def register(cls: _Class) -> _Class:
    """Registers a class under all names that files know it by.

    Example:
    ```python
    @register
    class Layer(keras.layers.Layer):
        pass
    ```
    """
    for package in _KNOWN:
        # The last one is the one that is written.
        cls = keras.saving.register_keras_serializable(package=package)(cls)
    return cls
