"""The convolution: every backend against the loop in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from inn.ops import causal_conv, use_backend

NAMES = "y last gx gweight gbias gstate"
reference = causal_conv.backends["reference"].run


def on(name):
    """The op on this backend (the C++ one is built where it is not there yet)."""

    def run(*args):
        with use_backend(name):
            return causal_conv(*args)

    return run


def tensors(shape, sets=1, seed=0):
    """x, weight, bias, state in float64, values that float32 holds exactly; `shape` is B, T, N, E, K."""
    batch, time, neurons, channels, taps = shape
    g = torch.Generator().manual_seed(seed)
    x, weight, bias = (batch, time, neurons, channels), (sets, channels, taps), (sets, channels)
    state = (batch, neurons, taps - 1, channels)
    return [torch.randn(size, generator=g).double() for size in (x, weight, bias, state)]


def marks(shape, seed, often):
    """Steps with a reset, and steps that count, `[B, T]`."""
    g = torch.Generator().manual_seed(seed)
    return torch.rand(shape[:2], generator=g) < often, torch.rand(shape[:2], generator=g) >= often


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 3), st.integers(1, 70), st.integers(1, 4)),
    separate=st.booleans(),
    reset=st.booleans(),
    mask=st.booleans(),
    often=st.sampled_from([0.1, 0.5, 1.0]),
    layout=st.sampled_from(["dense", "neurons", "half", "half-neurons", "channels"]),
    seed=st.integers(0, 99),
)
@example((1, 1, 1, 1, 1), False, False, False, 0.1, "dense", 0)
@example((1, 1, 1, 1, 4), False, True, True, 1.0, "dense", 0)
@example((2, 33, 2, 17, 4), True, True, True, 0.5, "half", 1)
def test_equals_the_reference(kit, backend, shape, separate, reset, mask, often, layout, seed):
    with_gradients, close, laid_out = kit
    exact = tensors(shape, shape[2] if separate else 1, seed=seed)
    resets, counts = marks(shape, seed, often)
    options = (resets if reset else None, counts if mask else None)
    single = [t.float() for t in exact]
    single[0] = laid_out(single[0], layout)
    close(with_gradients(on(backend), single, *options), with_gradients(reference, exact, *options), NAMES, 1e-5)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("shape", [(1, 50, 1, 300, 4), (140, 3, 1, 5, 4), (3, 20, 4, 130, 2)])
def test_many_channels_or_streams(kit, backend, shape):
    with_gradients, close, _ = kit
    exact = tensors(shape, shape[2])
    bar = with_gradients(reference, exact)
    close(with_gradients(on(backend), [t.float() for t in exact]), bar, NAMES, 1e-5)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_bfloat16_inputs(kit, backend):
    with_gradients, close, laid_out = kit
    exact = tensors((2, 30, 3, 40, 4))
    exact[0], exact[3] = exact[0].bfloat16().double(), exact[3].bfloat16().double()  # the state holds earlier inputs
    given = [laid_out(exact[0].bfloat16(), "half"), *(t.float() for t in exact[1:])]
    ours = with_gradients(on(backend), given)
    assert [t.dtype for t in ours] == [torch.bfloat16, torch.float32, torch.bfloat16, *(3 * [torch.float32])]
    close(ours, with_gradients(reference, exact), NAMES, 2**-6)  # the torch backend computes in bfloat16


@pytest.mark.parametrize("cut", [1, 2, 15, 16, 17])
def test_a_split_equals_one_pass(cut):
    x, weight, bias, state = (t.float() for t in tensors((2, 40, 2, 20, 4)))
    whole, last = on("cpu")(x, weight, bias, state)
    first, state = on("cpu")(x[:, :cut], weight, bias, state)
    second, state = on("cpu")(x[:, cut:], weight, bias, state)
    assert torch.equal(torch.cat((first, second), 1), whole)
    assert torch.equal(state, last)


@pytest.mark.parametrize("separate", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(kit, separate):
    with_gradients, _, _ = kit
    given = [t.float() for t in tensors((5, 60, 4, 300, 4), 4 if separate else 1)]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            results.append(with_gradients(on("cpu"), given, *marks((5, 60), 0, 0.1)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, a, b in zip(NAMES.split(), results[0], other, strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("layout", ["dense", "neurons", "half-neurons"])
def test_results_lie_in_memory_as_the_inputs_do(kit, layout):
    with_gradients, _, laid_out = kit
    x, *rest = (t.float() for t in tensors((2, 5, 3, 8, 4)))
    y, _, gx, *_ = with_gradients(on("cpu"), [laid_out(x, layout), *rest])
    for t in (y, gx):
        assert t.permute([2, 0, 1, 3] if "neurons" in layout else [0, 1, 2, 3]).is_contiguous()


def test_torch_compile_sees_through_it(kit):
    with_gradients, close, _ = kit

    def block(x, weight, bias, state):
        y, last = causal_conv(2 * x, weight, bias, state)
        return y + x, last

    given = [t.float() for t in tensors((2, 7, 2, 33, 4))]
    causal_conv(*given)  # builds the library if need be
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    close(with_gradients(compiled, given), with_gradients(block, given), NAMES, 1e-6)


def test_the_operator_keeps_pytorchs_rules():
    given = [t.float() for t in tensors((2, 6, 2, 5, 4))]
    causal_conv(*given)
    leaves = [t.requires_grad_() for t in given]
    torch.library.opcheck(torch.ops.inn.causal_conv_fwd.default, (*leaves, *marks((2, 6), 0, 0.2)))


def test_what_the_kernel_refuses():
    given = tensors((1, 3, 1, 4, 4))
    assert causal_conv.choose(*given)[1]["cpu"] == "takes float32 and bfloat16, not float64"
    five = [t.float() for t in tensors((1, 3, 1, 4, 5))]
    backend, reasons = causal_conv.choose(*five)
    assert (backend.name, reasons["cpu"]) == ("torch", "takes up to 4 taps, not 5")


def test_wrong_shapes_are_errors_not_crashes():
    given = [t.float() for t in tensors((2, 3, 2, 4, 3))]
    for i, t in enumerate(given):
        wrong = [*given[:i], t[..., :-1], *given[i + 1 :]]
        with pytest.raises(RuntimeError, match=r"should be"):
            on("cpu")(*wrong)
