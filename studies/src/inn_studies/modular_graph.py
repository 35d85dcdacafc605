"""The probes of a network that adds modulo p, on a graph of neurons that answers `a + b =`."""

from __future__ import annotations

from typing import Any

import torch

import inn
from inn.analysis import ipr, phases
from inn.analysis.controls.untrained import untrained
from inn.runs.load import load_with_data
from inn_studies.quadratic import cuts_of, table

POWER = 0.95
"""Share of the power that the key frequencies of a graph hold together."""
Found = dict[str, Any]


@torch.no_grad()
def probed(run: str) -> Found:
    """The probes of the two-layer network on a graph of neurons that answers `a + b =` (for `Lab.measure`).

    A unit is one of the numbers of a neuron. It reads a number with its column of the embedding, and tells answers with
    its row of the head. `weights` are the probes on these; `answers` the same on what it is at the equals sign: its
    mean by a, by b, and by a + b. `adds` is the share of its variance that a + b explains, over all units.
    """
    model: Any
    model, data = load_with_data(run)
    p, seed = data.task.options.modulus, data.task.options.seed  # type: ignore[attr-defined]

    def probes(of: Any) -> tuple[Found, dict[str, Any], Any]:
        read = of.widen(of.embedding.weight[:p]).T
        tells = (of.head.weight[:p] * of.norm.weight).T
        x = _at_the_end(of, p)
        by = x.view(p, p, -1)
        places = (torch.arange(p)[:, None] + torch.arange(p)) % p
        sums = torch.zeros(p, x.shape[1]).index_add_(0, places.flatten(), x) / p
        waves = {"weights": (read, read, tells), "answers": (by.mean(1).T, by.mean(0).T, sums.T)}
        said = {name: _said(phases(*three), three) for name, three in waves.items()}
        adds = float(sums.var(0, correction=0).sum() / x.var(0, correction=0).sum())
        return {**said, "adds": adds}, waves, x

    found, waves, x = probes(model)
    parts = table(p, seed, data.task.options.corrupted, data.task.options.train)  # type: ignore[attr-defined]
    a, b, label = parts["train"]
    wrong = label != (a + b) % p

    def accuracy(cut: Any, a: Any, b: Any, label: Any) -> float | None:
        y = x[a * p + b].clone()
        y[:, cut] = x.mean(0)[cut]
        told = model.predict(model.norm(y[None]))[0]
        return float((told.argmax(-1) == label).double().mean()) if len(label) else None

    cuts = {}
    for name, three in waves.items():
        cuts[name] = {
            what: {
                "test": accuracy(cut, *parts["test"]),
                "taught": accuracy(cut, a[wrong], b[wrong], label[wrong]),
                "right": accuracy(cut, a[wrong], b[wrong], (a + b)[wrong] % p),
            }
            for what, cut in cuts_of(_ipr(three), seed).items()
        }
    fresh = torch.ones(p * p, dtype=torch.bool).index_fill_(0, a * p + b, False).nonzero()[:, 0]
    left = {"embedding": _embedding(model, p, fresh), "answers": _answers(model, x, p, fresh, seed)}
    return {**found, "cuts": cuts, "left": left, "untrained": probes(untrained(model))[0]}


def _keys(waves: Any) -> Any:
    """The fewest frequencies that hold 95 % of the power of waves `[F, p]` together, the mean aside: `[p // 2 + 1]`."""
    power = torch.fft.rfft(waves).abs().square().sum(0)
    power[0] = 0.0
    falling = power.sort(descending=True)
    count = int((falling.values.cumsum(0) < POWER * power.sum()).sum()) + 1
    return torch.zeros_like(power, dtype=torch.bool).index_fill_(0, falling.indices[:count], True)


def _only(waves: Any, keys: Any) -> Any:
    """Waves `[F, p]` without all but these frequencies, and their means."""
    kept = keys.clone()
    kept[0] = True
    return torch.fft.irfft(torch.fft.rfft(waves) * kept, n=waves.shape[-1])


def _others(keys: Any, seed: int) -> Any:
    """As many frequencies, drawn from the others (all of those, where they are fewer)."""
    rest = (~keys).nonzero()[1:, 0]  # without 0, the mean
    chosen = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))[: int(keys.sum())]]
    return torch.zeros_like(keys).index_fill_(0, chosen, True)


def _right(model: Any, x: Any, pairs: Any, p: int) -> float:
    """How many of these pairs `[S]`, a p + b each, are answered right where the numbers are `x` `[p², F]`."""
    told = model.predict(model.norm(x[None]))[0][pairs, :p]
    return float((told.argmax(-1) == (pairs // p + pairs % p) % p).double().mean())


def _embedding(model: Any, p: int, pairs: Any) -> Found:
    """How many pairs are answered right where numbers are waves of few frequencies in the embedding."""
    weight, found = model.embedding.weight, {}
    whole = weight.clone()
    keys = _keys(whole[:p].T)
    try:
        for name, kept in (("only", keys), ("without", ~keys)):
            weight[:p] = _only(whole[:p].T, kept).T
            found[name] = _right(model, _at_the_end(model, p), pairs, p)
    finally:
        weight.copy_(whole)
    return {"keys": int(keys.sum()), **found}


def _answers(model: Any, x: Any, p: int, pairs: Any, seed: int) -> Found:
    """The same where the numbers at the equals sign, `x` `[p², F]`, are nothing but waves of a + b.

    The waves are of the pairs that are asked about, none of which was trained on: means over pairs that were would be
    right for a network that knows them by heart, too.
    """
    places = ((torch.arange(p)[:, None] + torch.arange(p)) % p).flatten()
    of = places[pairs]
    sums = (torch.zeros(p, x.shape[1]).index_add_(0, of, x[pairs]) / of.bincount(minlength=p).clamp_min(1)[:, None]).T
    keys = _keys(sums)
    alone = {name: _only(sums, kept).T[places] for name, kept in (("only", keys), ("others", _others(keys, seed)))}
    alone["without"] = x - alone["only"] + x.mean(0)
    return {"keys": int(keys.sum()), **{name: _right(model, y, pairs, p) for name, y in alone.items()}}


def _at_the_end(model: Any, p: int) -> Any:
    """The neurons after the last round at the equals sign of every pair, `[p², F]`: pair (a, b) is row a p + b."""
    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    tokens = torch.stack([a, torch.full_like(a, p), b, torch.full_like(a, p + 5)], 1)
    with inn.record(model, "outputs") as tape:
        model(tokens)
    return model.graph.readout(tape.last_outputs)[:, -1]


def _ipr(three: Any) -> Any:
    return torch.stack([ipr(one - one.mean(-1, keepdim=True)) for one in three]).mean(0)


def _said(found: Any, three: Any) -> Found:
    return {
        "ipr": float(_ipr(three).mean()),
        "single": float(found.single.double().mean()),
        "misaligned": found.median,
        "used": found.used,
        "possible": found.possible,
    }
