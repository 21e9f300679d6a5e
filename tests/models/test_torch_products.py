"""The products are those of plain PyTorch, by either of its libraries."""

import keras
import numpy as np
import pytest

if keras.config.backend() != "torch":
    pytest.skip("of PyTorch", allow_module_level=True)

import torch

from keras_coconut.models import autodiff, torch_products


@pytest.fixture(params=["mkl", "onednn"])
def library(request, monkeypatch):
    """Whatever this processor is best at. Without oneDNN's operation, fails."""
    linear = None
    if request.param == "onednn":
        linear = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch_products, "_linear", lambda: linear)
    return request.param


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def both_layouts(matrix):
    return matrix, matrix.T.contiguous().T


@pytest.mark.parametrize("rows", [1, 2, 32, 33])
@pytest.mark.parametrize("width", [12, 128, 256, 300])
def test_multiply(library, rows, width):
    """In blocks or not, of a matrix and of one that is transposed."""
    x, matrix, bias = numbers(rows, 5), numbers(5, width), numbers(width)
    exact = x.double() @ matrix.double()
    for one in both_layouts(matrix):
        product = torch_products.multiply(x, one)
        assert product.is_contiguous()
        np.testing.assert_allclose(product, exact, atol=1e-5)
        product = torch_products.multiply(x, one, bias)
        np.testing.assert_allclose(product, exact + bias, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 32, 33, 100])
def test_products_of_a_transpose(library, rows):
    x, y, total = numbers(rows, 12), numbers(rows, 20), numbers(12, 20)
    exact = x.double().T @ y.double()
    for a, b in zip(both_layouts(x), both_layouts(y)):
        product = torch_products.multiply_by_transpose(a, b)
        np.testing.assert_allclose(product, exact, atol=1e-5)
        added = total.clone()
        torch_products.add_by_transpose(added, a, b)
        np.testing.assert_allclose(added, total + exact, atol=1e-5)


def test_no_rows(library):
    product = torch_products.multiply(torch.ones(0, 5), torch.ones(5, 12))
    assert product.shape == (0, 12)
    total = torch.ones(5, 12)
    torch_products.add_by_transpose(total, torch.ones(0, 5), torch.ones(0, 12))
    assert (total == 1).all()


def test_half_precision(library):
    x, y = numbers(40, 8).bfloat16(), numbers(40, 16).bfloat16()
    total = torch.zeros(8, 16)
    torch_products.add_by_transpose(total, x, y)
    np.testing.assert_allclose(total, x.float().T @ y.float(), atol=0.2)


def test_gradients_of_rows_and_products(library):
    """Rows looked up in a table by which others are multiplied."""
    ids = torch.tensor([[1, 3, 3], [0, 1, 1]])
    gradients = []
    for plain in (True, False):
        table = numbers(7, 4).requires_grad_()
        x = numbers(2, 3, 4, seed=1).requires_grad_()
        rows, again = table[ids], table
        if not plain:
            rows, again = autodiff.take_rows(table, ids)
        y = (x + rows) @ again.T
        if not plain:
            y = autodiff.multiply_by_rows(x + rows, again)
        y.square().sum().backward()
        gradients.append((x.grad, table.grad))
    for one, other in zip(*gradients):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("has", ["DEFAULT", "AVX2", "AVX512"])
def test_the_library_is_chosen_by_the_processor(monkeypatch, has):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: has)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    chosen = torch_products._linear.__wrapped__()
    assert (chosen is not None) == (has == "AVX512")
