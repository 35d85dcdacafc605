"""The contract of recall."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from inn.config.models import INNConfig
from inn.models.inn import INN
from inn.nn.recall.base import NOTHING, Parts, Recall
from inn.registry import RECALLS
from inn.testing.expect import expect, expect_equal, named
from inn.testing.graphs import B, D, N, _built, _near

VOCAB, T = 5, 24
"""Few symbols and more steps than the other contracts have: something comes again, and can be recalled."""


def check_recall(recall: type[Recall] | str, **options: Any) -> None:
    """Hold a kind of recall to its contract, by itself and in a model.

    Shapes and types of what it finds and of its state; any split equals one pass; a reset is a fresh start, a masked
    step no step; nothing given is changed, and without `remember` no table; nothing later is seen and streams do not
    meet, but in tables that they share; a text that was read is recalled; gradients reach its weights; a neuron that
    found nothing votes nothing and changes no vote; in a model, steps in place and saving.

    >>> check_recall("last", contexts=[1, 2], slots=64)
    """
    with named(RECALLS, recall) as kind:
        for neurons in (1, N):
            config = INNConfig(vocab=VOCAB, neurons=neurons, width=D, rounds=1, recall={"kind": kind, **options})
            r: Recall = _built(RECALLS[kind], config)
            with torch.no_grad():
                for p in r.parameters():  # what begins at zero would show nothing
                    p.add_(torch.randn_like(p) * 0.5)
            _check(r, neurons, f"recall '{kind}' ({neurons} neurons)")
            _check_votes(r, config, f"votes of recall '{kind}' ({neurons} neurons)")
        _check_model(config, f"recall '{kind}'")


def _check(r: Recall, neurons: int, what: str) -> None:
    x = _symbols(B, T)
    fresh = r.initial_state(B)
    given = {name: t.clone() for name, t in fresh.items()}
    found, last, _ = r(x, given)
    expect_equal(list(found.shape), [B, T, neurons, D], f"{what}: what it finds is not [batch, time, neuron, width]")
    expect_equal(found.dtype, torch.float64, f"{what}: what it finds is not of its weights' type")
    _check_parts(r, last, fresh, neurons, what)
    _same(given, fresh, f"{what}: forward changes the state that it was given")
    _check_found(r, x, found, neurons, what)
    _near(r(x, None)[0], found, f"{what}: without a state it finds something else than from the initial one")
    bar = {name: t.clone() for name, t in fresh.items()}
    _near(r.read_(x, bar)[0], found, f"{what}: read_ finds something else than forward")
    _same(bar, last, f"{what}: read_ ends in another state than forward")
    _check_time(r, x, found, last, what)
    _check_kept(r, x, last, what)
    _check_together(r, x, what)
    weights = [p for p in r.parameters() if p.requires_grad]
    grads = torch.autograd.grad(found.square().sum(), weights, allow_unused=True)
    expect(all(g is not None and g.any() for g in grads), f"{what}: no gradient reaches one of its weights")
    expect(all(n >= 0 for n in r.flops().values()), f"{what}: flops() must count")
    expect(
        all(len(getattr(r, name)) == VOCAB for name in r.by_symbol), f"{what}: `by_symbol` has another size than vocab"
    )
    silent = copy.deepcopy(r)
    silent.silence()
    expect(not silent(x, None)[0].any(), f"{what}: after silence() what it finds still counts")


def _check_found(r: Recall, x: Tensor, taken: Tensor, neurons: int, what: str) -> None:
    """What is looked up: whole numbers, from which alone follows what is taken in."""
    known = r(x, None)[2]
    for name, t in known.items():
        expect_equal(list(t.shape[:3]), [B, T, neurons], f"{what}: '{name}' that is found is not [batch, time, neuron]")
        expect(not t.is_floating_point(), f"{what}: '{name}' that is found is no whole number")
    again, state, _ = r(x, None, found=known)
    _near(again, taken, f"{what}: given what is found it takes in something else")
    expect(not state, f"{what}: given what is found it has a state")
    nothing = {name: torch.full_like(t, NOTHING) for name, t in known.items()}
    _near(
        r.tell(nothing)[:, :1],
        r(x[:, :1], None, remember=False)[0],
        f"{what}: {NOTHING} does not stand for what is not known",
    )


def _check_parts(r: Recall, last: Parts, fresh: Parts, neurons: int, what: str) -> None:
    expect({"table", "recent"} <= fresh.keys(), f"{what}: its state has no part 'table' or no part 'recent'")
    expect_equal(last.keys(), fresh.keys(), f"{what}: its state has other parts after reading")
    for name, t in last.items():
        expect_equal(list(t.shape[:2]), [B, neurons], f"{what}: part '{name}' is not [batch, neuron, ...]")
        expect(
            t.shape == fresh[name].shape and t.dtype == fresh[name].dtype, f"{what}: reading changes '{name}' itself"
        )
    expect(bool((last["recent"] == last["recent"][:, :1]).all()), f"{what}: part 'recent' differs between neurons")
    count = [len(r.contexts(n)) for n in range(neurons)]
    expect_equal(count, [last["table"].shape[2]] * neurons, f"{what}: contexts() does not name those of its table")


def _check_time(r: Recall, x: Tensor, found: Tensor, last: Parts, what: str) -> None:
    """Splits, resets, masks, the future, and other streams."""
    for cuts in ([1] * T, [9, T - 9], [T - 1, 1]):
        parts, now = [], None
        for piece in x.split(cuts, 1):
            y, now, _ = r(piece, now)
            parts.append(y)
        _near(torch.cat(parts, 1), found, f"{what}: read in parts it finds something else than in one pass")
        _same(now or {}, last, f"{what}: read in parts it ends in another state")
    for cut in (1, T // 2, T - 1):
        _near(r(x[:, :cut], None)[0], found[:, :cut], f"{what}: a later symbol changes what is found before it")
    _near(r(x[1:], None)[0], found[1:], f"{what}: streams meet inside it")
    reset, mask = torch.zeros(B, T, dtype=torch.bool), torch.ones(B, T, dtype=torch.bool)
    reset[1, T // 2] = True
    y, after, _ = r(x, None, reset)
    _near(y[0], found[0], f"{what}: a reset reaches another stream")
    alone, end, _ = r(x[1:, T // 2 :], None)
    _near(y[1:, T // 2 :], alone, f"{what}: a reset is no fresh start")
    _same({name: t[1:] for name, t in after.items()}, end, f"{what}: a reset leaves something in the state")
    mask[:, 5:9] = False
    kept = [t for t in range(T) if not 5 <= t < 9]
    y, after, _ = r(x, None, None, mask)
    alone, end, _ = r(x[:, kept], None)
    _near(y[:, kept], alone, f"{what}: a masked step is not left out")
    _same(after, end, f"{what}: a masked step leaves something in the state")


def _check_kept(r: Recall, x: Tensor, last: Parts, what: str) -> None:
    """What stays in the tables: of a text that was read, something; of what is not to be remembered, nothing."""
    few = r(x[:, :1], None)[1]
    after, told = r(x, few, remember=False)[1], r(x, few)[1]
    expect(not torch.equal(told["table"], few["table"]), f"{what}: what is read does not go into its table")
    expect(torch.equal(after["table"], few["table"]), f"{what}: without remember the table is another one")
    expect(torch.equal(after["recent"], told["recent"]), f"{what}: without remember 'recent' is not what was read")
    again, first = r(x, last)[0], r(x, None)[0]
    expect(not torch.equal(again, first), f"{what}: a text that was read is not recalled")
    one = r.after_reading(x[0])
    expect_equal(one.keys(), last.keys(), f"{what}: after_reading() gives other parts")
    expect(torch.equal(one["table"], last["table"][:1]), f"{what}: after_reading() gives another table than reading")
    expect(torch.equal(one["recent"], r.initial_state(1)["recent"]), f"{what}: after_reading() keeps last symbols")


def _check_together(r: Recall, x: Tensor, what: str) -> None:
    """Streams with one set of tables find what they would if they read one after the other at each step."""
    if not r.shares:
        return
    start, state = r.together(B), r.together(B)
    expect_equal(len(state["table"]), 1, f"{what}: together() gives each stream a table of its own")
    found = r.find_(x, state)
    table, own = start["table"], [{**{k: t[b : b + 1] for k, t in start.items()}} for b in range(B)]
    for t in range(T):
        for b in range(B):
            one = r.find_(x[b : b + 1, t : t + 1], {**own[b], "table": table})
            for name, all_ in found.items():
                expect(torch.equal(one[name][0, 0], all_[b, t]), f"{what}: streams that share find other '{name}'")
    _same({**{k: torch.cat([o[k] for o in own]) for k in start}, "table": table}, state, f"{what}: they end elsewhere")


def _check_votes(r: Recall, config: INNConfig, what: str) -> None:
    """Votes are of what was found; a neuron that found nothing, or is silent, takes no part in them."""
    make: Any = type(r).voter
    if make(config) is None:
        return
    votes: Any = _built(make, config)
    with torch.no_grad():
        for p in votes.parameters():
            p.add_(torch.randn_like(p) * 0.5)
        hidden = torch.randn(B, T, config.normed_width, dtype=torch.float64)
        found = r(_symbols(B, T), None)[2]
        y = votes(found, hidden)
        expect_equal(list(y.shape), [B, T, VOCAB], f"{what} are not [batch, time, vocab]")
        expect(all(hasattr(votes.get_submodule(name), "bias") for name in votes.of_readout), f"{what}: no bias")
        some = {name: t.clone() for name, t in found.items()}
        for t in some.values():
            t[:, :, 0] = NOTHING
        without = votes(some, hidden)
        votes.silence([0])
        _near(votes(found, hidden), without, f"{what}: a neuron that found nothing is not as one that is silent")
        nothing = {name: torch.full_like(t, NOTHING) for name, t in found.items()}
        expect(not votes(nothing, hidden).any(), f"{what}: there are some where nothing was found")


def _check_model(config: INNConfig, what: str) -> None:
    m, x = _built(INN, config), _symbols(B, T)
    y, last = m(x)
    state = m.initial_state(B)
    with torch.no_grad():
        for t in range(T):
            step, state = m.step_(x[:, t], state)
            _near(step, y[:, t], f"a model with {what}: steps in place give something else")
    _same(dict(state), dict(last), f"a model with {what}: steps in place end in another state")
    other = _built(INN, config, seed=1)
    other.load_state_dict(m.state_dict())
    _near(other(x)[0], y, f"a model with {what}: saved and loaded it is another one")
    with torch.device("meta"):
        INN(config)


def _symbols(*shape: int) -> Tensor:
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(0))


def _same(found: Any, expected: Any, sentence: str) -> None:
    for name, t in expected.items():
        _near(found[name].double(), t.double(), f"{sentence} ('{name}')")
