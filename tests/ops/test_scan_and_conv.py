"""Selective scan and causal convolution: every backend against the loop in float64, with all gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn.ops import causal_conv, selective_scan, use_backend

SIZES = st.tuples(
    st.integers(1, 3),  # B
    st.sampled_from([1, 2, 7, 63, 64, 65, 130]),  # T, around the chunks of every backend
    st.integers(1, 3),  # N
    st.sampled_from([1, 3, 15, 16, 17, 32, 33, 40]),  # E, around the widths of vectors and blocks
    st.sampled_from([1, 4, 16, 17]),  # S
)
TOLERANCE = {
    ("torch", torch.float64): {"rtol": 1e-9, "atol": 1e-9},
    ("cpu", torch.float32): {"rtol": 2e-4, "atol": 2e-4},
    ("cpu", torch.bfloat16): {"rtol": 0.05, "atol": 0.1},
}
CASES = list(TOLERANCE)


def scan_inputs(sizes, separate, kind):
    b, t, n, e, s = sizes
    p = n if separate else 1
    wide = torch.float64 if kind == torch.float64 else torch.float32
    u, z = torch.randn(n, b, t, 2 * e).to(kind).permute(1, 2, 0, 3).chunk(2, -1)  # as the in-projection leaves them
    dt = (torch.randn(b, t, n, e) * 2 - 2).to(kind)
    B, C = (torch.randn(b, t, n, s).to(kind) for _ in range(2))
    A = -torch.rand(p, e, s, dtype=wide) * 4
    A[..., 0] = 0  # a state that never decays
    return [u, dt, A, B, C, torch.randn(p, e, dtype=wide), z, torch.randn(b, n, e, s, dtype=wide)]


def conv_inputs(sizes, separate, kind, taps=4):
    b, t, n, e, _ = sizes
    p = n if separate else 1
    wide = torch.float64 if kind == torch.float64 else torch.float32
    x = torch.randn(n, b, t, 2 * e).to(kind).permute(1, 2, 0, 3).chunk(2, -1)[0]
    return [x, torch.randn(p, e, taps, dtype=wide), torch.randn(p, e, dtype=wide),
            torch.randn(b, n, taps - 1, e, dtype=wide)]  # fmt: skip


def compare(op, inputs, backend, kind, reset, mask):
    """Hold outputs, last state and every gradient of a backend against the reference in float64."""
    ours = [a.detach().requires_grad_() for a in inputs]
    exact = [a.detach().double().requires_grad_() for a in inputs]
    results = []
    for name, args in ((backend, ours), ("reference", exact)):
        with use_backend(name):
            y, state = op(*args, reset, mask)
        if mask is not None:
            y = y * mask[:, :, None, None]  # what comes out of a masked step means nothing
        torch.manual_seed(1)
        wy, ws = torch.randn(y.shape), torch.randn(state.shape)
        loss = (y.double() * wy).sum() + (state.double() * ws).sum()
        loss = loss + sum(0 * a.double().sum() for a in args)  # where all is masked or reset, some are not used
        results.append([y, state, *torch.autograd.grad(loss, args)])
    for i, (a, bar) in enumerate(zip(*results, strict=True)):
        # sums over time and channels grow with their number
        scale = max(1.0, bar.detach().abs().max().item()) if bar.numel() else 1.0
        torch.testing.assert_close(
            a.double() / scale, bar / scale, **TOLERANCE[backend, kind], msg=lambda m, i=i: f"[{i}] {m}"
        )


@pytest.mark.parametrize("backend, kind", CASES, ids=str)
@given(SIZES, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 999))
def test_scan(backend, kind, sizes, separate, with_reset, with_mask, seed):
    torch.manual_seed(seed)
    shape = sizes[:2]
    reset = torch.rand(shape) < 0.1 if with_reset else None
    mask = torch.rand(shape) < 0.7 if with_mask else None
    compare(selective_scan, scan_inputs(sizes, separate, kind), backend, kind, reset, mask)


@pytest.mark.parametrize("backend, kind", CASES, ids=str)
@given(SIZES, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 4), st.integers(0, 999))
def test_conv(backend, kind, sizes, separate, with_reset, with_mask, taps, seed):
    torch.manual_seed(seed)
    shape = sizes[:2]
    reset = torch.rand(shape) < 0.1 if with_reset else None
    mask = torch.rand(shape) < 0.7 if with_mask else None
    compare(causal_conv, conv_inputs(sizes, separate, kind, taps), backend, kind, reset, mask)


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("dt", [-30.0, 30.0])
def test_scan_with_extreme_steps(backend, dt):
    """A step near zero changes nothing; a huge one forgets everything; neither breaks a number."""
    torch.manual_seed(0)
    x, _, A, B, C, D, z, state = scan_inputs((1, 70, 2, 16, 4), True, torch.float32)
    args = [x, torch.full_like(x, dt), A - 1, B, C, D, z, state]
    args = [a.detach().requires_grad_() for a in args]
    with use_backend(backend):
        y, last = selective_scan(*args)
    gradients = torch.autograd.grad(y.sum() + last.sum(), args)
    assert all(t.isfinite().all() for t in (y, last, *gradients))
    if dt < 0:
        torch.testing.assert_close(last, state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "op, inputs", [(selective_scan, scan_inputs), (causal_conv, conv_inputs)], ids=["scan", "conv"]
)
def test_cpu_kernels_do_not_depend_on_the_number_of_threads(op, inputs):
    torch.manual_seed(0)
    args = [a.detach().requires_grad_() for a in inputs((3, 100, 4, 40, 8), True, torch.float32)]
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with use_backend("cpu"):
            y, state = op(*args)
        results.append([y, state, *torch.autograd.grad(y.square().sum() + state.square().sum(), args)])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(
    "op, inputs", [(selective_scan, scan_inputs), (causal_conv, conv_inputs)], ids=["scan", "conv"]
)
def test_no_element_is_left_unwritten(op, inputs):
    """Fresh memory filled with NaN shows what a kernel forgot to write."""
    torch.manual_seed(0)
    args = [a.detach().requires_grad_() for a in inputs((2, 70, 3, 21, 5), False, torch.float32)]
    torch.use_deterministic_algorithms(True)  # fills torch.empty with NaN
    try:
        for backend in ("torch", "cpu"):
            with use_backend(backend):
                y, state = op(*args)
                gradients = torch.autograd.grad(y.sum() + state.sum(), args)
            assert all(t.isfinite().all() for t in (y, state, *gradients))
    finally:
        torch.use_deterministic_algorithms(False)


def test_float64_goes_to_pytorch_with_a_reason():
    backend, reasons = selective_scan.choose(*scan_inputs((1, 2, 1, 3, 2), False, torch.float64))
    assert backend.name == "torch"
    assert "float64" in reasons["cpu"]


def test_the_given_state_is_not_changed():
    for op, inputs in ((selective_scan, scan_inputs), (causal_conv, conv_inputs)):
        for backend in ("torch", "cpu"):
            args = inputs((2, 5, 2, 8, 4), True, torch.float32)
            before = args[-1].clone()
            with use_backend(backend):
                op(*args)
            assert torch.equal(args[-1], before)
