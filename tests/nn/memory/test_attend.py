"""Attention over a neuron's own last steps: a plain loop that it equals, and the contract of a memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import inn
from inn.config.assemble import graph_config
from inn.nn.memory.attend import Attending
from inn.nn.memory.groups import build_memory
from inn.system.errors import InputError
from inn.testing import check_memory

B, T, N, D, W = 2, 11, 3, 4, 4


def memory(attend: int = W, weights: str = "separate", **fields: Any) -> Any:
    torch.manual_seed(0)
    options = {"kind": "gru", "attend": attend}
    found = build_memory(
        graph_config(neurons=N, width=D, rounds=1, memory=options, router="none", weights=weights, **fields)
    ).double()
    for p in found.parameters():
        torch.nn.init.normal_(p)
    return found


def by_hand(m: Attending, y: torch.Tensor, b: int, n: int, steps: list[int], told: dict[int, int]) -> dict:
    """What one neuron gives at its steps `steps`; `told`: for each the first of them that it may look at."""
    p = n if m.age.shape[0] > 1 else 0
    q, k, v = (m.look.weight[p] @ y[b, :, n].T).T.split(D, -1)
    found = {}
    for at, t in enumerate(steps):
        seen = [s for s in steps[max(0, at - m.window + 1) : at + 1] if s >= told[t]]
        age = [at - steps.index(s) for s in seen]
        scores = torch.stack([q[t] @ k[s] / D**0.5 + m.age[p, a] for s, a in zip(seen, age)])
        found[t] = y[b, t, n] + m.bring.weight[p] @ (scores.softmax(0)[:, None] * v[seen]).sum(0)
    return found


@pytest.mark.parametrize("weights", ["shared", "separate"])
@pytest.mark.parametrize("given", ["all", "reset", "mask", "present", "everything"])
def test_it_is_a_plain_loop(given, weights):
    m = memory(weights=weights)
    x = torch.randn(B, T, N, D, dtype=torch.float64)
    options: dict[str, Any] = {}
    if given in ("reset", "everything"):
        options["reset"] = torch.rand(B, T) < 0.3
    if given in ("mask", "everything"):
        options["mask"] = torch.rand(B, T) < 0.7
    if given in ("present", "everything"):
        options["present"] = torch.rand(B, T, N) < 0.7
    y = m.memory(x, m.memory.initial_state(B), **options)[0]
    ours = m(x, m.initial_state(B), **options)[0]
    reset = options.get("reset", torch.zeros(B, T, dtype=torch.bool))
    there = options.get("present", torch.ones(B, T, N, dtype=torch.bool)) & options.get(
        "mask", torch.ones(B, T, dtype=torch.bool)
    ).unsqueeze(-1)
    for b in range(B):
        begun = {t: max([s for s in range(t + 1) if reset[b, s]], default=0) for t in range(T)}
        for n in range(N):
            steps = [t for t in range(T) if there[b, t, n]]
            for t, bar in by_hand(m, y, b, n, steps, begun).items():
                torch.testing.assert_close(ours[b, t, n], bar, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cuts", [[1] * T, [2, 9], [7, 1, 3]], ids=str)
def test_any_split_is_one_pass_with_gradients_through_the_state(cuts):
    m = memory()
    x = torch.randn(B, T, N, D, dtype=torch.float64, requires_grad=True)
    reset, there = torch.rand(B, T) < 0.2, torch.rand(B, T, N) < 0.7

    def run(cuts: list[int]) -> list[torch.Tensor]:
        state, ys, start = m.initial_state(B), [], 0
        for n in cuts:
            at = slice(start, start + n)
            y, state = m(x[:, at], state, reset=reset[:, at], present=there[:, at])
            ys.append(y * there[:, at, :, None])
            start += n
        loss = torch.cat(ys, 1).square().sum() + sum(t.sin().sum() for t in state.values())
        return [torch.cat(ys, 1), *state.values(), torch.autograd.grad(loss, x)[0]]

    whole = run([T])
    names = ["y", *m.initial_state(1), "gradient"]
    for name, ours, bar in zip(names, run(cuts), whole, strict=True):
        if name in ("keys", "values"):  # what is older than `seen` is not looked at
            seen = whole[names.index("seen")]
            dead = torch.arange(W - 1, 0, -1)[:, None] > seen[..., None]
            ours, bar = ours.masked_fill(dead, 0), bar.masked_fill(dead, 0)
        torch.testing.assert_close(ours, bar, rtol=0, atol=1e-11)


def test_it_starts_as_the_memory_it_looks_back_on():
    torch.manual_seed(0)
    plain = inn.Graph(neurons=2, width=4, rounds=1, memory="gru")
    looking = inn.Graph(neurons=2, width=4, rounds=1, memory={"kind": "gru", "attend": 3})
    own = {k.replace("memory.memory.", "memory."): v for k, v in looking.state_dict().items()}
    plain.load_state_dict({k: v for k, v in own.items() if k in plain.state_dict()})
    x = torch.randn(2, 9, 8)
    assert torch.equal(looking(x)[0], plain(x)[0])
    assert looking.flops()["memory.attention"] == 2 * 2 * (3 * 16 + 16) + 4 * 2 * 3 * 4


def test_it_keeps_the_contract():
    check_memory("gru", attend=3)


@pytest.mark.parametrize("reset", [True, False])
def test_a_state_that_is_lost_comes_back_with_a_reset(reset):
    m = memory()
    x = torch.randn(B, T, N, D, dtype=torch.float64)
    state = {k: torch.full_like(t, torch.nan) if k != "seen" else t + W - 1 for k, t in m.initial_state(B).items()}
    at = torch.zeros(B, T, dtype=torch.bool)
    at[:, 5] = reset
    y, new = m(x, state, reset=at)
    assert y[:, :5].isnan().all()
    if reset:
        torch.testing.assert_close(y[:, 5:], m(x[:, 5:], m.initial_state(B))[0])
        assert all(t.isfinite().all() for t in new.values())
    else:
        assert y.isnan().all()


def test_a_masked_nan_reaches_neither_results_nor_gradients():
    m = memory()
    x, mask = torch.randn(B, T, N, D, dtype=torch.float64), torch.ones(B, T, dtype=torch.bool)
    mask[:, 3:6] = False
    inner = m.memory

    def poisoned(*args: Any, **options: Any) -> tuple:
        y, new = inner(*args, **options)
        return torch.where(mask[..., None, None], y, torch.nan), new

    m.__dict__["memory"] = poisoned  # a memory that gives anything there
    y, new = m(
        x, {**inner.initial_state(B), **{k: v for k, v in memory().initial_state(B).items() if k != "h"}}, mask=mask
    )
    (y[mask].square().sum() + sum(t.sum() for t in new.values())).backward()
    assert y[mask].isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())


def test_half_precision_and_a_window_longer_than_the_text():
    graph = inn.Graph(neurons=2, width=4, rounds=1, memory={"kind": "gru", "attend": 30})
    state = graph(torch.randn(2, 5, 8))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert graph(torch.randn(2, 5, 8))[0].isfinite().all()
    again, after = graph.bfloat16()(torch.randn(2, 5, 8, dtype=torch.bfloat16))
    assert (again.dtype, after[0, "keys"].dtype, after[0, "keys"].shape[2]) == (torch.bfloat16, torch.float32, 29)
    assert state[0, "seen"].unique().tolist() == [5.0]


@pytest.mark.parametrize("attend", [1, -1])
def test_a_window_that_is_none_is_refused(attend):
    with pytest.raises(InputError, match="attend must be 0"):
        graph_config(neurons=2, width=4, memory={"kind": "gru", "attend": attend})
