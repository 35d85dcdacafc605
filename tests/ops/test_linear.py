"""Linear maps of a population against the loop over neurons in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import neuron_linear, use_backend

LAYOUTS = ["dense", "neurons", "half", "half-neurons", "channels"]


def on(name, **options):
    def run(*args):
        with use_backend(name):
            return neuron_linear(*args, **options)

    return run


def tensors(shape, separate, bias, seed):
    batch, time, neurons, inputs, outputs = shape
    torch.manual_seed(seed)
    sets = neurons if separate else 1
    made = [torch.randn(batch, time, neurons, inputs), torch.randn(sets, outputs, inputs)]
    return [t.double() for t in (*made, torch.randn(sets, outputs))[: 3 if bias else 2]]


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@given(
    # around the widths of vectors and panels, and the heights of tiles and blocks
    shape=st.tuples(
        st.integers(1, 3), st.sampled_from([1, 2, 3, 4, 11, 12, 13, 50, 100]), st.integers(1, 4),
        st.sampled_from([1, 3, 16, 17, 32, 40, 65]), st.sampled_from([1, 2, 8, 16, 31, 33, 48, 70]),
    ),
    separate=st.booleans(),
    bias=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 99),
)  # fmt: skip
@example((2, 1100, 1, 5, 40), False, True, "dense", 0)  # several slices of rows in the gradient of the weights
@example((1, 1, 1, 1, 1), True, True, "dense", 0)
def test_equals_the_reference(kit, backend, shape, separate, bias, layout, seed):
    with_gradients, close, laid_out = kit
    exact = tensors(shape, separate, bias, seed)
    ours = [laid_out(exact[0].float(), layout), *(t.float() for t in exact[1:])]
    bar = with_gradients(on("reference"), exact)
    single = with_gradients(on("reference"), [t.float() for t in exact])
    close(with_gradients(on(backend), ours), bar, "y gx gweight gbias"[: 18 if bias else 12], 1e-5, single)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("shape", [(2, 30, 3, 20, 57), (1, 2, 1, 7, 57)])
@pytest.mark.parametrize("separate", [False, True])
def test_several_results_of_one_input(kit, backend, shape, separate):
    with_gradients, close, _ = kit
    exact = tensors(shape, separate, True, 0)
    names, sizes = "a b c gx gweight gbias", (5, 16, 36)
    bar = with_gradients(on("reference", sizes=sizes), exact)
    close(with_gradients(on(backend, sizes=sizes), [t.float() for t in exact]), bar, names, 1e-5)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_bfloat16(kit, backend):
    """The C++ kernel leaves bfloat16 to PyTorch; whoever takes it rounds once."""
    exact = tensors((2, 9, 3, 20, 24), True, True, 0)
    x, w, b = (t.bfloat16() for t in exact)
    if backend == "cpu":
        assert "bfloat16" in neuron_linear.choose(x, w, b)[1]["cpu"]
    bar = on("reference")(x.double(), w.double(), b.double())[0]
    torch.testing.assert_close(neuron_linear(x, w, b)[0].double(), bar, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("separate", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(kit, separate):
    with_gradients, _, _ = kit
    args = [t.float() for t in tensors((4, 700, 3, 40, 24), separate, True, 0)]
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(with_gradients(on("cpu"), args))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_an_input_that_is_one_number_repeated_along_an_axis(separate, axis):
    x, w, b = (t.float() for t in tensors((3, 5, 4, 7, 6), separate, True, 0))
    repeated = x.select(axis, 0).unsqueeze(axis).expand_as(x)
    torch.testing.assert_close(on("cpu")(repeated, w, b)[0], on("reference")(repeated.clone(), w, b)[0])


def test_only_what_is_asked_for_gets_a_gradient():
    x, w, b = (t.float() for t in tensors((1, 5, 2, 4, 6), True, True, 0))
    for wanted in ([x], [w], [b], [w, b]):
        leaves = [t.detach().requires_grad_(any(t is v for v in wanted)) for t in (x, w, b)]
        y = on("cpu")(*leaves)[0]
        y.sum().backward()
        assert [t.grad is not None for t in leaves] == [t.requires_grad for t in leaves]


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_neuron_major_results_are_read_without_copies(backend):
    y = on(backend)(torch.randn(2, 5, 3, 4), torch.randn(3, 8, 4))[0]
    assert y.shape == (2, 5, 3, 8)
    assert y.flatten(0, 1).transpose(0, 1).is_contiguous()  # what the next map reads is already in order


@pytest.mark.parametrize("separate", [False, True])
def test_one_neuron_does_not_see_another(separate):
    x = torch.randn(1, 4, 3, 4)
    w = torch.randn(3 if separate else 1, 5, 4)
    changed = x.clone()
    changed[:, :, 1] += 1
    difference = (neuron_linear(changed, w)[0] - neuron_linear(x, w)[0]).abs().amax((0, 1, 3))
    assert difference[1] > 0
    assert difference[0] == 0
    assert difference[2] == 0
