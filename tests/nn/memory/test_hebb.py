"""The associative memory: its chunks against a plain loop, and what it recalls."""

import pytest
import torch

import inn
import inn.testing
from inn.config.assemble import graph_config
from inn.nn.memory import hebb
from inn.nn.memory.hebb import Hebb, associate
from inn.system.errors import InputError


def drawn(B=2, T=11, N=3, K=4, V=4):
    torch.manual_seed(0)
    q, k, v = (torch.randn(B, T, N, n, dtype=torch.float64) for n in (K, K, V))
    return q, k, v, torch.tensor([-0.01, -0.2, -1.0]).double(), torch.randn(B, N, V, K, dtype=torch.float64)


def naive(q, k, v, rate, state, reset, counts, settle):
    """The recurrence as it is written, step by step."""
    B, T, N, _ = q.shape
    y, M = torch.zeros(B, T, N, v.shape[-1]).double(), state.clone()
    for b in range(B):
        for n in range(N):
            for t in range(T):
                if reset is not None and reset[b, t]:
                    M[b, n] = 0
                if counts is not None and not counts[b, t, n]:
                    continue
                M[b, n] = rate[n].exp() * M[b, n] + torch.outer(v[b, t, n], k[b, t, n])
                y[b, t, n] = M[b, n] @ q[b, t, n]
                for _ in range(settle):
                    y[b, t, n] = M[b, n] @ y[b, t, n].sign()
    return y, M


@pytest.mark.parametrize("settle", [0, 2])
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_chunks_equal_a_plain_float64_loop(monkeypatch, settle, chunk):
    monkeypatch.setattr(hebb, "_CHUNK", chunk)
    q, k, v, rate, state = drawn()
    reset, counts = torch.rand(2, 11) < 0.2, torch.rand(2, 11, 3) < 0.7
    for resets, counted in ((None, None), (reset, None), (None, counts), (reset, counts)):
        y, M = associate(q, k, v, rate, state, resets, counted, settle)
        bar, end = naive(q, k, v, rate, state, resets, counted, settle)
        torch.testing.assert_close(M, end, rtol=1e-12, atol=1e-12)
        y = y if counted is None else y.masked_fill(~counted[..., None], 0)
        torch.testing.assert_close(y, bar, rtol=1e-12, atol=1e-12)


def test_gradients_across_chunks(monkeypatch):
    monkeypatch.setattr(hebb, "_CHUNK", 3)
    given = [t.requires_grad_() for t in drawn(1, 7, 3, 2, 2)]
    reset = torch.tensor([[False] * 4 + [True] + [False] * 2])
    assert torch.autograd.gradcheck(lambda *a: associate(*a, reset), given)


def test_contract_with_narrow_keys_and_settling():
    inn.testing.check_memory("hebb", keys=3, settle=1, keep=0.5)


def test_what_is_not_a_number_at_steps_that_do_not_count_reaches_nothing():
    q, k, v, rate, state = drawn()
    counts = torch.ones(2, 11, 1, dtype=torch.bool)
    counts[:, 4:6] = False
    bar = associate(q, k, v, rate, state, counts=counts)[1]
    for t in (q, k, v):
        t[:, 4:6] = torch.nan
    assert torch.equal(associate(q, k, v, rate, state, counts=counts)[1], bar)


def test_a_stored_pattern_is_completed_from_a_distorted_one():
    """K = 10 of 400 numbers, a fifth of the signs flipped."""
    torch.manual_seed(0)
    patterns = torch.randn(10, 400).sign()
    cue = patterns[3] * torch.where(torch.arange(400) < 80, -1.0, 1.0)
    x, nothing = patterns[None, :, None], torch.zeros(1, 1, 400, 400)
    M = associate(x, x, x, torch.zeros(1), nothing)[1]
    still = torch.zeros(1, 1, 1, 400)
    recalled = associate(cue[None, None, None], still, still, torch.zeros(1), M, settle=3)[0].sign()[0, 0, 0]
    assert float(cue @ patterns[3]) / 400 == pytest.approx(0.6)
    assert float(recalled @ patterns[3]) / 400 >= 0.95


def test_time_constants_are_those_of_the_decay():
    config = graph_config(neurons=3, width=4, memory="hebb", memory_options={"keep": 0.9}, router="none")
    m = Hebb(config).double()
    found = m.time_constants(torch.randn(1, 2, 3, 4).double(), m.initial_state(1))
    torch.testing.assert_close(torch.exp(-1 / found), torch.full((3, 1), 0.9).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("keep", [0.0, 1.0, -0.5])
def test_a_decay_outside_the_open_interval_is_refused(keep):
    with pytest.raises(InputError, match="keep must be above 0 and below 1"):
        inn.INN(vocab=5, memory="hebb", memory_options={"keep": keep})
