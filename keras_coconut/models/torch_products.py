"""Matrix products on PyTorch, by the faster of its libraries for a CPU.

PyTorch multiplies float32 matrices by MKL, which uses the wide registers of
Intel's processors only and copies a matrix into another order even for a few
rows. It carries oneDNN too, whose products with a layer's weights its compiler
uses: on a processor of AMD's with AVX-512 they take half the time for many rows
and a half to a quarter for a few. Where there is no AVX-512, MKL was as fast.

Without a gradient: for functions that write out theirs.
"""

import functools

import torch

# Up to so many rows meet so many columns at a time; see `_by_blocks`.
_FEW_ROWS = 32
_BLOCK = 128


def multiply(x, matrix, bias=None):
    """Returns `x @ matrix + bias` for x (rows, width)."""
    if _is_for_onednn(x, matrix):
        return _linear()(x, matrix.mT, bias, "none", [], "")
    if x.device.type == "cpu" and 1 < len(x) <= _FEW_ROWS:
        product = _by_blocks(x, matrix)
        return product if bias is None else product + bias
    return x @ matrix if bias is None else torch.addmm(bias, x, matrix)


def multiply_by_transpose(x, y):
    """Returns `x.mT @ y` for x (rows, width) and y (rows, other width)."""
    if _is_for_onednn(x, y):
        return _linear()(x.mT, y.mT, None, "none", [], "")
    return x.mT @ y


def add_by_transpose(total, x, y):
    """Adds `x.mT @ y` to `total` in place."""
    # oneDNN cannot, and to add up costs more than it saves for a few rows.
    if len(x) > _FEW_ROWS and _is_for_onednn(x, y):
        total += multiply_by_transpose(x, y)
    elif total.dtype == x.dtype:
        total.addmm_(x.mT, y)
    else:
        total += x.mT @ y


def _by_blocks(x, matrix):
    """Returns `x @ matrix`, by MKL for a few rows.

    By blocks of columns, which stay in the cache, its copy of the matrix takes
    two thirds of the time.
    """
    width = matrix.shape[1]
    if width <= _BLOCK or width % _BLOCK:
        return x @ matrix
    blocks = matrix.unflatten(1, (-1, _BLOCK)).transpose(0, 1)
    x = x.expand(len(blocks), -1, -1)
    return torch.bmm(x, blocks).transpose(0, 1).flatten(1)


def _is_for_onednn(x, y):
    return (
        x.device.type == "cpu"
        and x.dtype == y.dtype == torch.float32
        and x.numel() > 0
        and _linear() is not None
    )


@functools.cache
def _linear():
    """Returns oneDNN's product with a layer's weights, or `None`.

    PyTorch's compiler calls it where it meets a linear layer.
    """
    if (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
    ):
        return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return None
