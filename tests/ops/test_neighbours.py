"""What neurons hear along listed edges, against the loop over edges, and against the dense op where all are listed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inn.ops import (
    neighbour_attention,
    neighbour_messages,
    neighbour_scores,
    neighbour_sum,
    neuron_attention,
    use_backend,
)

KINDS = [torch.float64, torch.float32, torch.bfloat16]


def edges(neurons, degree, plain=False):
    sources = torch.stack([torch.randperm(neurons)[:degree] for _ in range(neurons)])
    return sources, torch.ones_like(sources).bool() if plain else torch.rand(neurons, degree) < 0.7


def found(op, backend, leaves, *given):
    with use_backend(backend):
        y = op(*leaves, *given)
    y = y[0] if isinstance(y, tuple) else y
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).to(y.dtype)
    every = [t for t in (*leaves, *given) if t is not None and t.requires_grad]
    nothing = sum(0 * t.sum() for t in every)  # where no edge is open, nothing depends on them
    return [y.detach(), *torch.autograd.grad((y * weights).sum() + nothing, every)]


def near(ours, bar, kind):
    rtol, atol = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-4, 2e-5), torch.bfloat16: (0.05, 0.1)}[kind]
    for a, b in zip(ours, bar, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=rtol, atol=atol * max(1.0, float(b.abs().max())))


@given(
    st.integers(1, 2), st.integers(1, 18), st.integers(1, 6), st.integers(1, 3), st.sampled_from([1, 4, 5, 8, 16, 18]),
    st.booleans(), st.booleans(), st.sampled_from(KINDS), st.integers(0, 99),
)  # fmt: skip
def test_equals_the_reference_with_gradients(batch, time, neurons, heads, width, weighed, some, kind, seed):
    torch.manual_seed(seed)
    listed = edges(neurons, max(1, neurons - 1))
    shape = (neurons, batch, time, heads, width)  # laid out neuron by neuron, as separate weights leave them
    leaves = [torch.randn(shape).to(kind).permute(1, 2, 0, 3, 4).requires_grad_() for _ in range(3)]
    signs = torch.randint(2, listed[0].shape) * 2 - 1 if weighed else None
    exactly = torch.float64 if kind == torch.float64 else torch.float32  # what a parameter is then
    log_weights = torch.randn(listed[0].shape, dtype=exactly, requires_grad=True) if weighed else None
    present = torch.rand(batch, time, neurons) < 0.6 if some else None
    given = (*leaves, *listed, signs, log_weights, present)
    exact = [t.detach().double().requires_grad_(t.requires_grad) if t is not None and t.is_floating_point() else t
             for t in given]  # fmt: skip
    bar = found(neighbour_attention, "reference", exact[:3], *exact[3:])
    for backend in ("torch",) if kind == torch.float64 else ("torch", "cpu"):
        near(found(neighbour_attention, backend, leaves, *given[3:]), bar, kind)
        with torch.no_grad(), use_backend(backend):
            weights = neighbour_attention(*given, want_weights=True)[1]
        with torch.no_grad(), use_backend("reference"):
            shares = neighbour_attention(*exact, want_weights=True)[1]
        near([weights], [shares], kind)


@given(st.integers(1, 18), st.integers(1, 6), st.sampled_from([1, 4, 8, 16, 18]), st.sampled_from(KINDS))
def test_sums_equal_the_reference_with_gradients(time, neurons, width, kind):
    torch.manual_seed(time)
    listed = edges(neurons, max(1, neurons - 1))
    v = torch.randn(2, time, neurons, width).to(kind).requires_grad_()
    weights = torch.randn(listed[0].shape, dtype=torch.float64 if kind == torch.float64 else torch.float32)
    leaves = [v, weights.requires_grad_()]
    bar = found(neighbour_sum, "reference", [t.detach().double().requires_grad_() for t in leaves], *listed)
    for backend in ("torch",) if kind == torch.float64 else ("torch", "cpu"):
        near(found(neighbour_sum, backend, leaves, *listed), bar, kind)


@given(
    st.sampled_from([1, 5, 17]), st.integers(1, 6), st.integers(1, 3), st.sampled_from([1, 4, 8, 18]),
    st.integers(1, 18), st.sampled_from(KINDS),
)  # fmt: skip
@settings(max_examples=30)
def test_sums_and_scores_by_step_equal_the_reference_with_gradients(time, neurons, heads, width, degree, kind):
    torch.manual_seed(time)
    sources, is_open = torch.randint(neurons, (neurons, degree)), torch.rand(neurons, degree) < 0.7
    q, k = (torch.randn(2, time, neurons, heads, width).to(kind).requires_grad_() for _ in range(2))
    weights = torch.randn(2, time, heads, neurons, degree, dtype=torch.promote_types(kind, torch.float32))
    for op, leaves in ((neighbour_sum, [k, weights.requires_grad_()]), (neighbour_scores, [q, k])):
        bar = found(op, "reference", [t.detach().double().requires_grad_() for t in leaves], sources, is_open)
        for backend in ("torch",) if kind == torch.float64 else ("torch", "cpu"):
            near(found(op, backend, leaves, sources, is_open), bar, kind)


@given(
    st.sampled_from([1, 5, 17, 50]), st.integers(2, 5), st.sampled_from([(1, 3), (4, 9), (5, 40), (16, 20), (34, 16)]),
    st.booleans(), st.booleans(), st.booleans(), st.sampled_from(KINDS), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30)
def test_matrix_messages_equal_the_reference_with_gradients(time, neurons, widths, shared, signed, fewer, kind, seed):
    torch.manual_seed(seed)
    width, wide = widths
    sources, is_open = (t[fewer:] for t in edges(neurons, neurons - 1))  # there may be fewer listeners than neurons
    x = torch.randn(neurons, 2, time, width).to(kind).permute(1, 2, 0, 3).requires_grad_()
    weight = torch.randn(1 if shared else len(sources), wide, neurons - 1, width).to(kind).requires_grad_()
    signs = torch.randint(2, sources.shape) * 2 - 1 if signed else None
    bar = found(neighbour_messages, "reference", [t.detach().double().requires_grad_() for t in (x, weight)],
                sources, is_open, signs)  # fmt: skip
    for backend in ("torch",) if kind == torch.float64 else ("torch", "cpu"):
        near(found(neighbour_messages, backend, [x, weight], sources, is_open, signs), bar, kind)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_matrix_messages_keep_nothing_that_comes_over_edges(backend):
    x, weight, kept = torch.randn(2, 9, 6, 4, requires_grad=True), torch.randn(6, 3, 5, 4, requires_grad=True), {}
    looked_at = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.update({t.data_ptr(): t.numel()}), lambda t: t)
    with looked_at, use_backend(backend):
        neighbour_messages(x, weight, *edges(6, 5))
    assert sum(kept.values()) == x.numel() + weight.numel() + 2 * 6 * 5


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_all_listed_is_what_the_dense_attention_gives(backend):
    torch.manual_seed(0)
    leaves = [torch.randn(2, 9, 6, 2, 4, requires_grad=True) for _ in range(3)]
    listed = found(neighbour_attention, backend, leaves, *edges(6, 6, plain=True))
    for a, b in zip(listed, found(neuron_attention, backend, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_a_nan_does_not_come_over_a_closed_edge_nor_from_who_is_absent(backend):
    v = torch.randn(1, 3, 3, 1, 4)
    v[:, :, 2] = torch.nan
    sources, is_open = torch.tensor([[0, 2], [1, 2], [0, 1]]), torch.tensor([[True, False], [True, True], [True, True]])
    present = torch.tensor([True, True, False]).expand(1, 3, 3)
    k = v.nan_to_num()
    with use_backend(backend):
        found = neighbour_attention(k, v, v, sources, is_open, None, None, present)[0]
        assert found.isfinite().all()
        assert neighbour_sum(v[..., 0, :], torch.ones(3, 2), sources, is_open)[:, :, 0].isfinite().all()
        assert neighbour_sum(v, torch.ones(1, 3, 1, 3, 2), sources, is_open)[:, :, 0].isfinite().all()
        assert neighbour_scores(k, v, sources, is_open)[..., 0, :].isfinite().all()
        assert neighbour_messages(v[..., 0, :], torch.ones(3, 5, 2, 4), sources, is_open)[:, :, 0].isfinite().all()


def test_the_kernel_does_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    leaves = [t.requires_grad_() for t in torch.randn(3, 4, 100, 12, 2, 8).unbind(0)]
    sources, is_open = edges(12, 5)
    matrices = torch.randn(12, 20, 5, 16, requires_grad=True)
    log_weights, results, before = torch.randn(12, 5, requires_grad=True), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with use_backend("cpu"):
            y = neighbour_attention(*leaves, sources, is_open, None, log_weights)[0]
            z = neighbour_messages(leaves[0].flatten(3), matrices, sources, is_open)
        results.append([y, *torch.autograd.grad(y.square().sum(), [*leaves, log_weights])])
        results[-1] += [z, *torch.autograd.grad(z.square().sum(), [leaves[0], matrices])]
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
