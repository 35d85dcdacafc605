"""Packed steps: every backend against the loop in float64, outputs and all gradients."""

from __future__ import annotations

import pytest
import torch

from inn.ops import packed_attention, packed_conv, packed_scan, use_backend
from inn.system.errors import InputError

LENGTHS = {
    "mixed": [5, 0, 70, 1, 130, 3],  # neuron by neuron, two streams each
    "empty-ends": [0, 0, 2, 9, 0, 0],
    "one": [0, 0, 0, 1, 0, 0],
    "many": [65, 64, 63, 128, 129, 200],
}
BATCH, N = 2, 3


def begun(name: str) -> torch.Tensor:
    return torch.tensor([0, *LENGTHS[name]]).cumsum(0)


def scan_tensors(first, channels, states, sets):
    g = torch.Generator().manual_seed(channels)

    def r(*shape):
        return torch.randn(*shape, generator=g).double()

    R = int(first[-1])
    x, dt, z, B, C = r(R, channels), r(R, channels) - 2, r(R, channels), r(R, states), r(R, states)
    A = -r(sets, channels, states).exp().float().double()
    return [x, dt.float().double(), A, B, C, r(sets, channels), z, r(BATCH, N, channels, states)]


def conv_tensors(first, channels, taps, sets):
    g = torch.Generator().manual_seed(channels)
    shapes = ((int(first[-1]), channels), (sets, channels, taps), (sets, channels), (BATCH, N, taps - 1, channels))
    return [torch.randn(*shape, generator=g).double() for shape in shapes]


def with_gradients(op, given, first, kind):
    leaves = [t.to(kind).requires_grad_() for t in given]
    y, last = op(*leaves, first)
    loss = (y.double().sin() * torch.arange(1, y.shape[1] + 1)).sum() + last.double().square().sum()
    return [y, last, *torch.autograd.grad(loss, leaves, allow_unused=True)]


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize(("channels", "width", "sets"), [(1, 1, 1), (38, 16, N), (33, 17, 1), (200, 4, N)])
@pytest.mark.parametrize("op", [packed_scan, packed_conv], ids=lambda op: op.name)
def test_equals_the_reference(op, channels, width, sets, name):
    first = begun(name)
    scan = op is packed_scan
    given = scan_tensors(first, channels, width, sets) if scan else conv_tensors(first, channels, min(width, 4), sets)
    bar = with_gradients(op.backends["reference"].run, given, first, torch.float64)
    for backend, kind, close in (("torch", torch.float64, 1e-9), ("cpu", torch.float32, 2e-4)):
        with use_backend(backend):
            found = with_gradients(op, given, first, kind)
        for ours, exact in zip(found, bar, strict=True):
            scale = 1.0 if exact.numel() == 0 else float(exact.detach().abs().max().clamp_min(1.0))
            torch.testing.assert_close(ours.double() / scale, exact / scale, rtol=close, atol=close)


@pytest.mark.parametrize("met", [[1], [3, 1, 40, 17, 16, 2], [5] * 90 + [1] * 50])
@pytest.mark.parametrize(("heads", "width"), [(1, 1), (2, 8), (3, 5)])
def test_attention_among_those_that_meet(met, heads, width):
    g, rows = torch.Generator().manual_seed(0), sum(met)
    given = [torch.randn(rows, heads, width, generator=g).double() for _ in range(3)]
    order, first = torch.randperm(rows, generator=g), torch.tensor([0, *met]).cumsum(0)

    def run(kind):
        leaves = [t.to(kind).requires_grad_() for t in given]
        y = packed_attention(*leaves, order, first)
        loss = (y.double() * torch.arange(1, width + 1)).sin().sum()
        return [y, *torch.autograd.grad(loss, leaves)]

    with use_backend("reference"):
        bar = run(torch.float64)
    for backend, kind, close in (("torch", torch.float64, 1e-9), ("cpu", torch.float32, 2e-5)):
        with use_backend(backend):
            for ours, exact in zip(run(kind), bar, strict=True):
                torch.testing.assert_close(ours.double(), exact, rtol=close, atol=close)


def test_a_row_without_steps_keeps_its_state():
    first = begun("empty-ends")
    given = [t.float() for t in scan_tensors(first, 8, 4, N)]
    _, last = packed_scan(*given, first)
    assert torch.equal(last[:, [0, 2]], given[-1][:, [0, 2]])
    assert not torch.equal(last[:, 1], given[-1][:, 1])


def test_second_derivatives_and_double_go_to_pytorch():
    first = begun("mixed")
    given = [t.float().requires_grad_() for t in conv_tensors(first, 3, 4, N)]
    (gx,) = torch.autograd.grad(packed_conv(*given, first)[0].square().sum(), given[0], create_graph=True)
    (again,) = torch.autograd.grad(gx.sum(), given[1])
    assert again.isfinite().all()
    assert again.abs().max() > 0
    chosen, _ = packed_conv.choose(*(t.double() for t in given), first)
    assert chosen.name == "torch"
    with use_backend("cpu"), pytest.raises(InputError, match="takes up to 4 taps"):
        packed_conv(*conv_tensors(first, 3, 5, N), first)


def test_rows_that_do_not_lead_to_the_end_are_refused():
    first = begun("mixed")
    given = [t.float() for t in conv_tensors(first, 3, 4, N)]
    with use_backend("cpu"), pytest.raises(RuntimeError, match="first should lead from 0"):
        packed_conv(*given, first - 1)
