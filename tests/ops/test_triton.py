"""The Triton backends against the loops in float64, run by Triton's interpreter where there is no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inn.errors import InputError
from inn.ops import selective_scan, use_backend

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KINDS = [torch.float32, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 0.06}

few = settings(max_examples=3, deadline=None)  # the interpreter takes a second for each


def compare(op, inputs, *options, valid=None):
    """Hold outputs and gradients of the Triton backend against the reference in float64, scaled by their largest."""
    ours = [a.detach().to(DEVICE).requires_grad_() for a in inputs]
    exact = [a.detach().double().requires_grad_() for a in inputs]
    results = []
    for name, args in (("triton", ours), ("reference", exact)):
        with use_backend(name):
            outputs = op(*args, *(o.to(args[0].device) if isinstance(o, torch.Tensor) else o for o in options))
        outputs = [o.cpu().double() for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o is not None]
        if valid is not None:
            outputs[0] = outputs[0] * valid  # what comes out of a masked step means nothing
        torch.manual_seed(1)
        loss = sum((o * torch.randn(o.shape)).sum() for o in outputs)
        loss = loss + sum(0 * a.double().sum().cpu() for a in args)  # where all is masked or reset, some are not used
        results.append([*outputs, *(g.cpu() for g in torch.autograd.grad(loss, args))])
    tolerance = TOLERANCE[inputs[0].dtype]
    for i, (a, bar) in enumerate(zip(*results, strict=True)):
        scale = max(1.0, bar.detach().abs().max().item()) if bar.numel() else 1.0
        torch.testing.assert_close(
            a.double() / scale, bar / scale, rtol=tolerance, atol=tolerance, msg=lambda m, i=i: f"[{i}] {m}"
        )


def flags(shape, wanted):
    reset = torch.rand(shape) < 0.15 if wanted & 1 else None
    mask = torch.rand(shape) < 0.7 if wanted & 2 else None
    return reset, mask


def scan_inputs(sizes, separate, kind):
    b, t, n, e, s = sizes
    p = n if separate else 1
    u, z = torch.randn(n, b, t, 2 * e).to(kind).permute(1, 2, 0, 3).chunk(2, -1)  # as the in-projection leaves them
    dt = (torch.randn(b, t, n, e) * 3 - 2).to(kind)
    B, C = torch.randn(b, t, n, 2 * s).to(kind).split(s, -1)
    A = -torch.rand(p, e, s) * 4
    A[..., 0] = 0  # a state that never decays
    return [u, dt, A, B, C, torch.randn(p, e), z, torch.randn(b, n, e, s)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@few
@given(
    st.tuples(
        st.integers(1, 2), st.sampled_from([1, 2, 7]), st.integers(1, 2), st.sampled_from([1, 5, 33]),
        st.sampled_from([1, 3, 4, 17]),
    ),
    st.booleans(), st.integers(0, 3), st.integers(0, 999),
)  # fmt: skip
@example((1, 67, 1, 2, 3), False, 3, 0)  # three periods, the last of them short
@example((2, 3, 2, 65, 4), True, 0, 1)  # more pieces of work than programs
@example((1, 1, 1, 1, 1), False, 0, 2)
def test_scan(kind, sizes, separate, flagged, seed):
    torch.manual_seed(seed)
    reset, mask = flags(sizes[:2], flagged)
    valid = None if mask is None else mask[:, :, None, None]
    compare(selective_scan, scan_inputs(sizes, separate, kind), reset, mask, valid=valid)


@pytest.mark.parametrize("dt", [-30.0, 30.0])
def test_scan_with_extreme_steps(dt):
    """A step near zero changes nothing; a huge one forgets everything; neither breaks a number."""
    torch.manual_seed(0)
    x, _, A, B, C, D, z, state = (a.to(DEVICE) for a in scan_inputs((1, 3, 2, 5, 4), True, torch.float32))
    args = [a.detach().requires_grad_() for a in (x, torch.full_like(x, dt), A - 1, B, C, D, z, state)]
    with use_backend("triton"):
        y, last = selective_scan(*args)
    gradients = torch.autograd.grad(y.sum() + last.sum(), args)
    assert all(t.isfinite().all() for t in (y, last, *gradients))
    if dt < 0:
        torch.testing.assert_close(last, args[-1], rtol=1e-5, atol=1e-5)


CALLS = {"scan": (selective_scan, lambda: scan_inputs((1, 5, 2, 6, 3), False, torch.float32))}


@pytest.mark.parametrize("name", CALLS)
def test_no_element_is_left_unwritten(name):
    """Fresh memory filled with NaN shows what a kernel forgot to write."""
    op, inputs = CALLS[name]
    args = [a.detach().to(DEVICE).requires_grad_() for a in inputs()]
    torch.use_deterministic_algorithms(True)  # fills torch.empty with NaN
    try:
        with use_backend("triton"):
            outputs = op(*args)
        outputs = [o for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o is not None]
        gradients = torch.autograd.grad(sum(o.sum() for o in outputs), args)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(t.isfinite().all() for t in (*outputs, *gradients))


@pytest.mark.parametrize("name", CALLS)
def test_compiles_without_a_graph_break(name):
    op, inputs = CALLS[name]
    args = [a.detach().to(DEVICE).requires_grad_() for a in inputs()]

    def loss(*args):
        outputs = op(*args)
        return sum(o.square().sum() for o in (outputs if isinstance(outputs, tuple) else (outputs,)) if o is not None)

    with use_backend("triton"):
        eager = torch.autograd.grad(loss(*args), args)
        compiled = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*args), args)
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", CALLS)
def test_is_not_chosen_on_a_cpu_unless_asked_for(name):
    op, inputs = CALLS[name]
    args = [a.detach().cpu() for a in inputs()]
    assert op.choose(*args)[0].name != "triton"
    assert "takes tensors on a GPU, not on cpu" in op.backends["triton"].refuses(*args)
    with use_backend("triton"), pytest.raises(InputError, match="float64"):
        op(*(a.double() for a in inputs()))


@pytest.mark.slow
@pytest.mark.parametrize("capability", [90, 80])
def test_every_kernel_compiles_for_a_real_gpu(capability):
    """Registers that do not fit are spilled to memory; a few bytes are addresses that outer loops use."""
    script = Path(__file__).with_name("compile_for_gpu.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(script), str(capability), "float32", "bfloat16"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    kernels = [json.loads(line) for line in result.stdout.splitlines()]
    assert {k["kernel"] for k in kernels} == {"scan_forward", "scan_backward"}
    for kernel in kernels:
        assert kernel["stack"] <= 256, kernel
        assert kernel["shared"] <= 100_000, kernel
