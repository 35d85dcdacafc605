"""The factorisation against the peers' published algebra, and against what it claims to minimise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inn.compress.states import energies, factorise, lost, lost_energy, rank_for, refit


def block(seed: int, outputs: int, inputs: int, symbols: int = 200):
    """A weight and the inputs it saw, correlated as activations are."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=g, dtype=torch.float64)
    x = torch.randn(symbols, inputs, generator=g, dtype=torch.float64) @ mix
    return torch.randn(outputs, inputs, generator=g, dtype=torch.float64), x


def svd_llm(w, x, rank):
    """SVD-LLM (arXiv 2403.07378), algorithm 1: whitening by Cholesky, truncated SVD, the whitening undone."""
    s = torch.linalg.cholesky(x.T @ x)
    u, sizes, v = torch.linalg.svd(w @ s, full_matrices=False)
    return u[:, :rank] @ torch.diag(sizes[:rank]) @ v[:rank] @ torch.linalg.inv(s)


def basis_sharing(ws, xs, rank):
    """Basis Sharing (arXiv 2410.03765), section 3: S W = U S V^T of the weights side by side, basis S^-1 U S."""
    s = torch.linalg.cholesky(sum(x.T @ x for x in xs)).T
    u, sizes, v = torch.linalg.svd(s @ torch.cat([w.T for w in ws], 1), full_matrices=False)
    basis = torch.linalg.inv(s) @ u[:, :rank] * sizes[:rank]
    return [(basis @ part).T for part in v[:rank].split([len(w) for w in ws], 1)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.data())
def test_one_block_is_svd_llm(seed, outputs, inputs, data):
    w, x = block(seed, outputs, inputs)
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    ours = factorise([w], [x.T @ x], rank).weight(0, inputs)
    theirs = svd_llm(w, x, rank)
    assert (ours - theirs).abs().max() < 1e-8 * theirs.abs().max()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 8), st.data())
def test_the_same_projection_of_several_layers_is_basis_sharing(seed, layers, inputs, data):
    blocks = [block(seed + i, inputs, inputs) for i in range(layers)]
    ws, xs = [w for w, _ in blocks], [x for _, x in blocks]
    rank = data.draw(st.integers(1, inputs))
    states = factorise(ws, [x.T @ x for x in xs], rank)
    for i, theirs in enumerate(basis_sharing(ws, xs, rank)):
        assert (states.weight(i, inputs) - theirs).abs().max() < 1e-8 * theirs.abs().max()


def test_moments_that_are_the_identity_give_plain_svd_and_diagonal_ones_fwsvd():
    w, _ = block(1, 6, 5)
    u, s, v = torch.linalg.svd(w, full_matrices=False)
    plain = u[:, :3] * s[:3] @ v[:3]
    torch.testing.assert_close(factorise([w], [torch.eye(5)], 3).weight(0, 5), plain)
    fisher = torch.rand(5, dtype=torch.float64) + 0.1  # FWSVD: W diag(sqrt f), SVD, undone
    u, s, v = torch.linalg.svd(w * fisher.sqrt(), full_matrices=False)
    torch.testing.assert_close(
        factorise([w], [torch.diag(fisher)], 3).weight(0, 5), u[:, :3] * s[:3] @ v[:3] / fisher.sqrt()
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_no_other_states_of_the_rank_lose_less(seed, rank):
    """Eckart and Young, in the metric of the outputs: any other factors of this rank are at least as far away."""
    w, x = block(seed, 8, 7)
    c = x.T @ x
    best = lost_energy(factorise([w], [c], rank), [w], [c])
    g = torch.Generator().manual_seed(seed)
    for _ in range(5):
        other = factorise([w + 0.3 * torch.randn(w.shape, generator=g, dtype=w.dtype)], [c], rank)
        assert best <= lost_energy(other, [w], [c]) * (1 + 1e-9)
    assert best == pytest.approx(float(energies([w], [c])[rank:].sum()), rel=1e-7, abs=1e-6)


def test_projections_that_read_the_same_lose_what_the_energies_say():
    w = [block(i, m, 6)[0] for i, m in enumerate((5, 2, 2))]
    x = block(9, 1, 6)[1]
    c = x.T @ x
    found = energies(w, [c] * 3)
    for rank in range(1, 7):
        states = factorise(w, [c] * 3, rank)
        assert lost_energy(states, w, [c] * 3) == pytest.approx(float(found[rank:].sum()), rel=1e-7, abs=1e-6)


def test_a_refit_is_least_squares():
    blocks = [block(i, 5, 6) for i in range(3)]
    ws, cs = [w for w, _ in blocks], [x.T @ x for _, x in blocks]
    pooled = factorise(ws, cs, 3)
    fitted = refit(pooled, ws, cs)
    assert lost_energy(fitted, ws, cs) < lost_energy(pooled, ws, cs)
    for (w, x), outputs in zip(blocks, fitted.outputs):
        best = torch.linalg.lstsq(x @ fitted.inputs, x @ w.T).solution.T
        torch.testing.assert_close(outputs, best)
    assert all(0 <= share < 1 for share in lost(fitted, ws, cs))


@pytest.mark.parametrize("symbols", [1, 3], ids=["one symbol", "three symbols"])
def test_a_text_that_does_not_span_the_inputs_is_handled(symbols):
    """Cholesky fails here, and an inverse blows up; what the text showed is kept exactly."""
    w, x = block(2, 6, 6, symbols)
    c = x.T @ x
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(c)
    states = refit(factorise([w, 2 * w], [c, c], symbols), [w, 2 * w], [c, c])
    torch.testing.assert_close(x @ states.weight(0, 6).T, x @ w.T)
    assert torch.isfinite(states.inputs).all()


def test_blocks_of_different_width_are_padded():
    (w, x), (narrow, y) = block(0, 4, 6), block(1, 4, 3)
    states = factorise([w, narrow], [x.T @ x, y.T @ y], 6)
    torch.testing.assert_close(states.weight(0, 6), w)
    torch.testing.assert_close(states.weight(1, 3), narrow)


def test_more_outputs_than_inputs_take_the_other_side():
    w, x = block(0, 40, 5)
    ours = factorise([w], [x.T @ x], 3).weight(0, 5)
    torch.testing.assert_close(ours, svd_llm(w, x, 3))


@pytest.mark.parametrize("rank", [0, 5])
def test_a_rank_that_is_out_of_range_is_refused(rank):
    w, x = block(0, 4, 4)
    with pytest.raises(ValueError, match=f"rank must be from 1 to 4, not {rank}"):
        factorise([w], [x.T @ x], rank)


def test_the_rank_rule_keeps_the_share():
    shapes = [(576, 576), (192, 576), (192, 576)]
    k = rank_for(0.5, shapes)
    kept = k * (576 + 192 + 192 + 576) / sum(m * n for m, n in shapes)
    assert abs(kept - 0.5) < 0.002
    assert rank_for(1.0, [(4, 100)]) == 4  # never beyond full
    assert rank_for(1e-9, [(4, 4)]) == 1
