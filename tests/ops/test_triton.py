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

from inn import INN
from inn.ops import (
    causal_conv,
    neighbour_attention,
    neighbour_messages,
    neighbour_scores,
    neighbour_sum,
    neuron_attention,
    neuron_linear,
    recurrence,
    selective_scan,
    use_backend,
)
from inn.ops.dispatch import Backend, Op
from inn.system.errors import InputError

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KINDS = [torch.float32, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 0.06}

few = settings(max_examples=2, deadline=None)  # the interpreter takes a second for each
kinds = st.sampled_from(KINDS)
single, half = KINDS


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


@few
@given(
    kinds,
    st.tuples(
        st.integers(1, 2), st.sampled_from([1, 2, 7]), st.integers(1, 2), st.sampled_from([1, 5, 33]),
        st.sampled_from([1, 3, 4, 17]),
    ),
    st.booleans(), st.integers(0, 3), st.integers(0, 999),
)  # fmt: skip
@example(single, (1, 67, 1, 2, 3), False, 3, 0)  # three periods, the last of them short
@example(single, (2, 3, 2, 65, 4), True, 0, 1)  # more pieces of work than programs
@example(single, (1, 1, 1, 1, 1), False, 0, 2)
@example(half, (1, 7, 2, 5, 3), True, 3, 3)
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


def conv_inputs(sizes, separate, kind):
    b, t, n, e, taps = sizes
    p = n if separate else 1
    x = torch.randn(n, b, t, 2 * e).to(kind).permute(1, 2, 0, 3).chunk(2, -1)[0]
    return [x, torch.randn(p, e, taps), torch.randn(p, e), torch.randn(b, n, taps - 1, e)]


@few
@given(
    kinds,
    st.tuples(
        st.integers(1, 2), st.sampled_from([1, 2, 7]), st.integers(1, 2), st.sampled_from([1, 5, 33]), st.integers(1, 4)
    ),
    st.booleans(), st.integers(0, 3), st.integers(0, 999),
)  # fmt: skip
@example(single, (1, 131, 1, 3, 4), False, 1, 0)  # three stretches
@example(single, (2, 66, 1, 3, 4), True, 0, 1)  # the last stretch shorter than the window
@example(single, (2, 9, 2, 3, 3), True, 3, 2)
@example(half, (1, 12, 1, 2, 4), False, 2, 3)
@example(half, (1, 64, 1, 2, 2), False, 1, 4)
def test_conv(kind, sizes, separate, flagged, seed):
    torch.manual_seed(seed)
    reset, mask = flags(sizes[:2], flagged)
    if reset is not None:
        reset[:, 63:66] |= torch.rand(reset[:, 63:66].shape) < 0.5  # around the start of a stretch
    compare(causal_conv, conv_inputs(sizes, separate, kind), reset, mask)


GATES = {"elman": (1, 1), "gru": (3, 1), "lstm": (4, 2), "slstm": (4, 4)}  # gates, states


def loop_inputs(cell, sizes, separate, kind):
    b, t, n, h = sizes
    gates, states = GATES[cell]
    p = n if separate else 1
    x = torch.randn(n, b, t, 2 * gates * h).to(kind).permute(1, 2, 0, 3).chunk(2, -1)[0]
    state = torch.randn(b, n, states, h)
    if cell == "slstm":
        state[:, :, 2] = state[:, :, 2].abs() + 0.5  # the normaliser
    return [x, state, torch.randn(p, gates * h, h) / h**0.5, *([torch.randn(p, h)] if cell == "gru" else [])]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(
    "sizes, separate, flagged, kind",
    [
        ((2, 4, 2, 5), True, 3, torch.float32),
        ((17, 3, 1, 3), False, 0, torch.float32),
        ((1, 2, 2, 40), False, 1, torch.bfloat16),
        ((1, 1, 1, 1), True, 2, torch.float32),
    ],
    ids=str,
)
def test_loop(cell, sizes, separate, flagged, kind):
    torch.manual_seed(sum(sizes))
    reset, mask = flags(sizes[:2], flagged)
    if mask is not None and sizes[2] > 1:
        mask = torch.rand(sizes[:3]) < 0.7  # neuron by neuron
    inputs = loop_inputs(cell, sizes, separate, kind)

    def op(x, state, *rest):
        return recurrence(cell, x, state, *rest[len(inputs) - 2 :], *rest[: len(inputs) - 2])

    compare(op, inputs, reset, mask)


@pytest.mark.parametrize("cell", GATES)
def test_what_a_loop_leaves_out_may_be_anything(cell):
    """NaN behind a mask, and in a state before a reset, reaches nothing."""
    torch.manual_seed(0)
    x, state, *weights = (a.to(DEVICE) for a in loop_inputs(cell, (2, 3, 1, 4), True, torch.float32))
    mask = torch.tensor([[True, False, True], [True, True, True]], device=DEVICE)
    reset = torch.tensor([[False, False, False], [True, False, False]], device=DEVICE)
    x = x.masked_fill(~mask[..., None, None], torch.nan)
    state[1] = torch.nan
    given = [a.detach().requires_grad_() for a in (x, state, *weights)]
    with use_backend("triton"):
        y, last = recurrence(cell, given[0], given[1], reset, mask, *given[2:])
    gradients = torch.autograd.grad(y.sum() + last.sum(), given)
    assert all(t.isfinite().all() for t in (y, last, *gradients))
    assert not y[0, 1].any()


def test_cells_that_the_loop_does_not_know_are_refused():
    x, state, weight = torch.randn(1, 2, 2, 8), torch.randn(1, 2, 1, 2), torch.randn(2, 8, 2)
    triton = recurrence.backends["triton"]
    assert triton.refuses("liquid", x, state, None, None, weight, torch.ones(1, 2)).startswith("knows the cells elman")
    assert "not the population" in triton.refuses("lstm", x, state, None, None, torch.randn(2, 8, 4))
    wide = torch.randn(1, 2, 1, 129)
    assert "1 to 128 units, not 129" in triton.refuses("elman", wide, wide, None, None, torch.randn(1, 129, 129))


def attention_inputs(sizes, kind):
    b, t, n, h, d = sizes
    # laid out neuron by neuron, as separate weights leave them
    return [torch.randn(n, b, t, h, d).to(kind).permute(1, 2, 0, 3, 4) for _ in range(3)]


@few
@given(
    kinds,
    st.tuples(
        st.integers(1, 2), st.integers(1, 2), st.sampled_from([1, 2, 5, 17]), st.integers(1, 4), st.integers(1, 18)
    ),
    st.booleans(), st.integers(0, 999),
)  # fmt: skip
@example(single, (1, 1, 67, 1, 5), True, 0)  # two blocks
@example(half, (1, 2, 65, 2, 8), False, 0)
@example(single, (1, 2, 3, 6, 40), True, 1)
@example(half, (1, 2, 3, 2, 5), True, 1)
def test_attention(kind, sizes, masked, seed):
    torch.manual_seed(seed)
    n = sizes[2]
    edges = torch.rand(n, n) < 0.5 if masked else None  # rows without any edge included
    compare(neuron_attention, attention_inputs(sizes, kind), edges)


def edges(neurons, degree):
    torch.manual_seed(neurons)
    return torch.randint(neurons, (neurons, degree)), torch.rand(neurons, degree) < 0.7


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_attention_along_listed_edges(kind):
    listed = edges(5, 3)
    inputs = [torch.randn(5, 1, 2, 2, 3).to(kind).permute(1, 2, 0, 3, 4) for _ in range(3)]
    signs, present = torch.randint(2, (5, 3)) * 2 - 1, torch.rand(1, 2, 5) < 0.6
    log_weights = torch.randn(5, 3).to(kind)

    def attend(q, k, v, log_weights, sources, is_open, signs, present):
        return neighbour_attention(q, k, v, sources, is_open, signs, log_weights, present)[0]

    compare(lambda *given: neighbour_attention(*given)[0], inputs, *listed)
    compare(attend, [*inputs, log_weights], *listed, signs, present)


def test_attention_along_listed_edges_hands_back_its_weights():
    sources, is_open = (t.to(DEVICE) for t in edges(5, 3))
    q, k, v = torch.randn(3, 1, 2, 5, 2, 3, device=DEVICE).unbind(0)
    bar = neighbour_attention.backends["reference"].run(q, k, v, sources, is_open, want_weights=True)[1]
    with use_backend("triton"):
        found = neighbour_attention(q, k, v, sources, is_open, want_weights=True)[1]
    torch.testing.assert_close(found, bar, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_sums_and_scores_along_listed_edges(kind):
    listed = edges(5, 3)
    q, v = torch.randn(2, 1, 2, 5, 2, 3).to(kind).unbind(0)
    compare(neighbour_sum, [v.flatten(3), torch.randn(5, 3).to(kind)], *listed)
    compare(neighbour_sum, [v, torch.randn(1, 2, 2, 5, 3).to(kind)], *listed)
    compare(neighbour_scores, [q, v], *listed)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("sizes", [(2, 3, 4, 3, 5), (1, 33, 3, 18, 3)], ids=str)
def test_matrix_messages_along_listed_edges(kind, sizes):
    batch, time, neurons, width, outputs = sizes
    sources, is_open = (t[1:] for t in edges(neurons, 2))  # one of the neurons does not listen
    x, weight = torch.randn(batch, time, neurons, width), torch.randn(neurons - 1, outputs, 2, width)
    signs = torch.randint(2, sources.shape) * 2 - 1
    compare(neighbour_messages, [x.to(kind), weight.to(kind)], sources, is_open, signs)


@pytest.mark.parametrize("neurons", [5, 66])
def test_attention_hands_back_its_weights(neurons):
    torch.manual_seed(0)
    q, k, v = (a.to(DEVICE) for a in attention_inputs((1, 2, neurons, 2, 6), torch.float32))
    edges = torch.rand(neurons, neurons, device=DEVICE) < 0.5
    edges[1] = False
    _, bar = neuron_attention.backends["reference"].run(q, k, v, edges, want_weights=True)
    with use_backend("triton"):
        _, weights = neuron_attention(q, k, v, edges, 0.5, want_weights=True)  # before dropout
        torch.testing.assert_close(weights, bar, rtol=1e-4, atol=1e-5)
        with pytest.raises(InputError, match="no gradient is wanted"):
            neuron_attention(q.requires_grad_(), k, v, want_weights=True)


@pytest.mark.parametrize("sizes", [(1, 3, 5, 4, 6), (1, 1, 66, 1, 33)], ids=str)
def test_attention_drops_the_same_weights_in_both_directions(sizes):
    torch.manual_seed(0)
    q, k, v = (a.to(DEVICE) for a in attention_inputs(sizes, torch.float32))

    def dropped(*args):
        torch.manual_seed(3)
        with use_backend("triton"):
            return neuron_attention(*args, None, 0.3)[0]

    weight = torch.randn_like(v)
    # linear in v: a finite difference is exact but for rounding
    gradient = torch.autograd.grad((dropped(q, k, v.requires_grad_()) * weight).sum(), v)[0]
    direction = torch.randn_like(v)
    with torch.no_grad():
        difference = ((dropped(q, k, v + direction) - dropped(q, k, v)) * weight).sum()
    torch.testing.assert_close(difference, (gradient * direction).sum(), rtol=1e-4, atol=1e-3)
    # what was dropped, read off with one-hot values; with it the gradient of q is that of a plain product
    b, t, n, h, d = sizes
    columns = torch.eye(n, -(-n // d) * d, device=DEVICE).split(d, 1)
    with torch.no_grad():  # [B, T, N_to, H, N_from]
        used = torch.cat([dropped(q, k, c[None, None, :, None].expand(b, t, n, h, d)) for c in columns], -1)[..., :n]
    q, k = q.requires_grad_(), k.requires_grad_()
    message = dropped(q, k, v.detach())
    logits = torch.einsum("btihd,btjhd->btihj", q, k) / d**0.5
    plain = torch.einsum("btihj,btjhd->btihd", logits.softmax(-1) * (used != 0) / 0.7, v.detach())
    torch.testing.assert_close(message, plain, rtol=1e-4, atol=1e-5)
    for ours, bar in zip(*(torch.autograd.grad((m * weight).sum(), (q, k)) for m in (message, plain)), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-4, atol=1e-4)
    share = (used == 0).float().mean().item()
    assert 0.2 < share < 0.4
    heads = (used != 0).unbind(3)
    assert all(not torch.equal(heads[0], other) for other in heads[1:])


def linear_inputs(sizes, bias, kind):
    b, t, n, i, o = sizes
    x = torch.randn(b, t, n, 2 * i).to(kind).chunk(2, -1)[0]
    inputs = [x, torch.randn(n, o, i).to(kind), torch.randn(n, o).to(kind)]
    return inputs if bias else inputs[:2]


@few
@given(
    kinds,
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(2, 3), st.integers(1, 40), st.integers(1, 40)),
    st.booleans(), st.integers(0, 999),
)  # fmt: skip
@example(single, (2, 70, 2, 70, 130), True, 0)  # several tiles each way
@example(half, (2, 9, 2, 20, 30), True, 0)
def test_linear(kind, sizes, bias, seed):
    torch.manual_seed(seed)
    compare(neuron_linear, linear_inputs(sizes, bias, kind))


def test_linear_sums_parts_of_the_rows(monkeypatch):
    monkeypatch.setattr("inn.ops.gpu.processors", lambda t: 8)  # enough of them that the rows are cut
    torch.manual_seed(0)
    compare(neuron_linear, linear_inputs((2, 650, 2, 3, 5), True, torch.float32))


def test_one_matrix_for_all_is_left_to_pytorch():
    x, weight = torch.randn(1, 2, 3, 4), torch.randn(1, 5, 4)
    assert "one matrix" in neuron_linear.backends["triton"].refuses(x, weight)
    assert neuron_linear.choose(x, weight)[0].name != "triton"


@pytest.mark.parametrize("weights, dtype", [("separate", torch.float32), ("shared", torch.bfloat16)], ids=str)
def test_a_whole_model_runs_on_it(weights, dtype):
    torch.manual_seed(0)
    model = INN(vocab=7, neurons=2, width=6, rounds=1, state=3, weights=weights).to(DEVICE)
    tokens = torch.randint(7, (1, 5), device=DEVICE)
    results = []
    for backend in ("triton", "torch"):
        with use_backend(backend), torch.autocast(DEVICE, dtype, enabled=dtype == torch.bfloat16):
            first, state = model(tokens[:, :3])
            second, _ = model(tokens[:, 3:], state)
            loss = torch.cat((first, second), 1).float().square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        # in bfloat16 some gradients (a key's bias has none in exact arithmetic) are rounding alone
        results.append([first.float(), second.float(), *(gradients if dtype == torch.float32 else ())])
    tolerance = 1e-3 if dtype == torch.float32 else 0.05
    for ours, bar in zip(*results, strict=True):
        scale = bar.abs().max().clamp_min(1e-3)
        torch.testing.assert_close(ours / scale, bar / scale, rtol=tolerance, atol=tolerance)


def turned(call):
    """A backend's function as one of x, state and weights."""
    return lambda x, state, *weights: call("gru", x, state, None, None, *weights)


gru_loop = Op(
    "recurrence", *(Backend(b.name, turned(b.run), turned(b.refuses), b.kernel) for b in recurrence.backends.values())
)
CALLS = {
    "linear": (neuron_linear, lambda: linear_inputs((2, 3, 2, 5, 4), True, torch.float32)),
    "scan": (selective_scan, lambda: scan_inputs((1, 5, 2, 6, 3), False, torch.float32)),
    "conv": (causal_conv, lambda: conv_inputs((1, 6, 2, 5, 4), False, torch.float32)),
    "loop": (gru_loop, lambda: loop_inputs("gru", (1, 3, 2, 5), True, torch.float32)),
    "attention": (neuron_attention, lambda: attention_inputs((1, 2, 3, 2, 5), torch.float32)),
    "attention in blocks": (neuron_attention, lambda: attention_inputs((1, 1, 66, 1, 5), torch.float32)),
}


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
        op(*(a.double().to(DEVICE) for a in inputs()))


def test_without_triton_the_other_backends_work_and_the_reason_is_given():
    code = """
import sys
sys.modules["triton"] = None  # an import of it fails
import torch
from inn.ops import neuron_attention, use_backend
from inn import INN
from inn.system.errors import InputError
q = torch.randn(1, 2, 3, 1, 4)
neuron_attention.backends["torch"].run(q, q, q)
try:
    with use_backend("triton"):
        neuron_attention(q, q, q)
except InputError as error:
    assert "Triton, which is not installed" in str(error), error
else:
    raise SystemExit("no error")
assert not [m for m in sys.modules if m.endswith("triton_kernels")]
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "chip, which, kinds",
    [("90", "few", ("float32", "bfloat16")), ("80", "few", ("bfloat16",)), ("gfx942", "few", ("bfloat16",))],
    ids=str,
)
def test_every_kernel_compiles_for_a_real_gpu(chip, which, kinds):
    """Registers that do not fit are spilled to memory; a few bytes are addresses that outer loops use."""
    script = Path(__file__).with_name("compile_for_gpu.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(script), chip, which, *kinds]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    kernels = [json.loads(line) for line in result.stdout.splitlines()]
    names = {f"{op}_{way}" for op in ("scan", "conv") for way in ("forward", "backward")}
    names |= {"keys_forward", "counts_forward", "maps", "weight_gradient", "loop_forward", "loop_backward"}
    names |= {
        "neighbours_forward",
        "neighbours_backward_queries",
        "neighbours_backward_keys",
        "mix",
        "spread",
        "scores",
    }
    names |= {f"messages_{way}" for way in ("forward", "backward_inputs", "backward_weights")}
    names |= {f"attention_{way}" for way in ("forward", "backward", "backward_queries", "backward_keys")}
    assert {k["kernel"] for k in kernels} == names
    for kernel in kernels:
        assert kernel["stack"] <= 256, kernel
        assert kernel["shared"] <= 100_000, kernel
