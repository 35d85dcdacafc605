"""The norm of each neuron against the loop over neurons in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import neuron_norm, use_backend

NAMES = "y gx gweight gbias"


def on(name):
    def run(*args):
        with use_backend(name):
            return (neuron_norm(*args),)

    return run


def tensors(shape, separate, seed, offset=0.0):
    torch.manual_seed(seed)
    sets = shape[2] if separate else 1
    return [
        torch.randn(shape).double() + offset,
        torch.randn(sets, shape[3]).double(),
        torch.randn(sets, shape[3]).double(),
    ]


# Not of width 2: there a norm gives ±1 whatever it reads, its gradient is zero but for what rounding leaves of it.
@pytest.mark.parametrize("backend, kind", [("torch", "float64"), ("cpu", "float32"), ("cpu", "bfloat16")])
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 4), st.sampled_from([3, 5, 16, 17, 32, 70])),
    separate=st.booleans(),
    layout=st.sampled_from(["dense", "neurons", "half", "channels"]),
    seed=st.integers(0, 99),
)
def test_equals_the_reference(kit, backend, kind, shape, separate, layout, seed):
    with_gradients, close, laid_out = kit
    exact = tensors(shape, separate, seed)
    kind = getattr(torch, kind)
    exact[0] = exact[0].to(kind).double()
    wide = torch.promote_types(kind, torch.float32)
    ours = [laid_out(exact[0].to(kind), layout), exact[1].to(wide), exact[2].to(wide)]
    loop = [exact[0].to(wide), *ours[1:]]
    bar, single = with_gradients(on("reference"), exact), with_gradients(on("reference"), loop)
    close(with_gradients(on(backend), ours), bar, NAMES, 0.02 if kind == torch.bfloat16 else 1e-5, single)


def test_a_large_mean_does_not_drown_the_deviation():
    x, weight, bias = (t.float() for t in tensors((1, 20, 2, 33), True, 0, offset=1000.0))
    bar = neuron_norm.backends["reference"].run(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(on("cpu")(x, weight, bias)[0].double(), bar, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("separate", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(kit, separate):
    with_gradients, _, _ = kit
    args = [t.float() for t in tensors((4, 300, 5, 24), separate, 0)]
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(with_gradients(on("cpu"), args))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_the_result_is_laid_out_like_the_input(kit):
    x = kit[2](torch.randn(2, 5, 3, 8), "neurons")
    assert on("cpu")(x, torch.ones(3, 8), torch.zeros(3, 8))[0].stride() == x.stride()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_gradient_follows_any_one_argument(which):
    given = [torch.randn(2, 3, 4, 5), torch.randn(4, 5), torch.randn(4, 5)]
    given[which].requires_grad_()
    (gradient,) = torch.autograd.grad(neuron_norm(*given).sum(), given[which])
    with use_backend("reference"):
        (bar,) = torch.autograd.grad(neuron_norm(*given).sum(), given[which])
    torch.testing.assert_close(gradient, bar)
    with torch.no_grad():
        assert not neuron_norm(*given).requires_grad
