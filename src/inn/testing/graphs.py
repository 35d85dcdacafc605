"""The contracts of memories, routers, topologies, readouts and models."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inn.config.graph import GraphConfig
from inn.config.signals import SignalOptions
from inn.models.build import build_model
from inn.nn.graph import Graph
from inn.nn.memory.base import Memory
from inn.nn.memory.groups import build_memory
from inn.nn.presence import remember
from inn.nn.routing.base import Router
from inn.nn.state import State
from inn.nn.tape import Tape
from inn.nn.topology.base import edges_of
from inn.nn.topology.edges import Edges
from inn.registry import MEMORIES, MODELS, READOUTS, ROUTERS, TOPOLOGIES
from inn.testing.expect import expect, expect_equal, named

N, D, B, T = 4, 8, 2, 7
"""Sizes that kinds are checked at; every kind has to work at these."""
_CLOSE: dict[str, float] = {"rtol": 1e-7, "atol": 1e-9}


def check_memory(memory: type[Memory] | str, **options: Any) -> None:
    """Hold a memory to its contract, with weights shared and separate, with and without a router that leads into it.

    Shapes and types of its state; any split equals one pass, gradients included; a reset is a fresh start, a masked
    step no step; nothing given is changed; `step_` equals `forward`; neurons and streams do not meet.
    """
    with named(MEMORIES, memory) as kind:
        for weights, router in itertools.product(("shared", "separate"), ("none", "dendrites")):
            config = _config(memory={"kind": kind, **options}, router=router, weights=weights)
            _check_memory(config, f"memory '{kind}' (weights {weights}, router {router})")
        _check_graph(_config(memory={"kind": kind, **options}), f"memory '{kind}'")
        mixed = [{"neurons": 1}, {"neurons": N - 1, "memory": {"kind": kind, **options}}]
        _check_graph(_config(population=mixed), f"memory '{kind}' beside another")


def check_router(router: type[Router] | str, **options: Any) -> None:
    """Hold a router to its contract, with weights shared and separate, on the complete graph and on a ring.

    Shape of its message; any split equals one pass; a closed edge carries nothing, and nothing comes from a neuron that
    is no source; gates at zero silence everyone; what is recorded has the declared mass; an `exchangeable` router lets
    alike neurons hear what one alone would.
    """
    with named(ROUTERS, router) as kind:
        for weights, topology in itertools.product(("shared", "separate"), ("complete", "ring")):
            config = _config(router={"kind": kind, **options}, weights=weights, topology=topology)
            _check_router(config, f"router '{kind}' (weights {weights}, topology {topology})")
        _check_exchangeable(kind, options)
        _check_graph(_config(router={"kind": kind, **options}), f"router '{kind}'")


def check_topology(topology: Any, **options: Any) -> None:
    """Hold a topology to its contract: the same edges each time, of neurons that are there, nobody listed twice.

    A graph with it is saved and loaded, and hears along its edges only.
    """
    with named(TOPOLOGIES, topology) as kind:
        config = _config(topology={"kind": kind, **options})
        edges, again = edges_of(config), edges_of(config)
        if edges is not None and again is not None:
            expect(torch.equal(edges.sources, again.sources), f"topology '{kind}' is another one the second time")
            _check_edges(edges, f"topology '{kind}'")
        for router in ("dendrites", "attention"):
            routed = _config(topology={"kind": kind, **options}, router=router)
            _check_router(routed, f"topology '{kind}' with router '{router}'")
        _check_graph(config, f"topology '{kind}'")


def check_readout(readout: Any, **options: Any) -> None:
    """Hold a readout to its contract: its declared width, every step by itself, alike neurons as one if it says so."""
    with named(READOUTS, readout) as kind:
        config = _config(readout={"kind": kind, **options}, **READOUTS[kind].beside)
        r = _built(READOUTS[kind], config)
        x = _random(B, T, N, D)
        y = r(x)
        expect_equal(
            list(y.shape), [B, T, config.readout_width], f"readout '{kind}': its shape is not what width() says"
        )
        _near(torch.cat([r(x[:, t : t + 1]) for t in range(T)], 1), y, f"readout '{kind}': steps are not apart")
        if r.takes_present:
            there = torch.ones(B, T, N, dtype=torch.bool)
            _near(r(x, present=there), y, f"readout '{kind}': all present, it gives something else")
            there[:, 2:, 1], there[:, 3] = False, False
            some = r(x.masked_fill(~there[..., None], 0), present=there)
            _near(some[:, 3], torch.zeros_like(y[:, 3]), f"readout '{kind}': where all are absent it gives not zeros")
            _near(some[:, :2], y[:, :2], f"readout '{kind}': an absence reaches another step")
        if r.exchangeable:
            alike = x[:, :, :1].expand(-1, -1, N, -1)
            _near(
                r(alike), r(x[:, :, :1]), f"readout '{kind}' says it is exchangeable, and alike neurons are not as one"
            )
        _check_graph(config, f"readout '{kind}'")


def check_model(model: Any, **fields: Any) -> None:
    """Hold a kind of model to its contract: shape, causality, any split, reset and mask, saved and loaded."""
    with named(MODELS, model) as kind:
        symbols = not issubclass(MODELS.options(kind), SignalOptions)
        own = {"vocab": 11} if symbols else {"features": 3}
        config = MODELS.options(kind)(**{**own, **fields, "kind": kind})
        m = _built(build_model, config)
        given = torch.randint(11, (B, T), generator=torch.Generator().manual_seed(0)) if symbols else _signal(config)
        what = f"model '{kind}'"
        y, state = m(given)
        if symbols:
            expect_equal(list(y.shape), [B, T, 11], f"{what}: logits are not [batch, time, vocab]")
        else:
            told = [config.outputs, *([len(config.levels)] if config.levels else [])]
            expect_equal(list(y.shape), [B, T, *told], f"{what}: what it tells is not [batch, time, outputs]")
            expect(bool(y.isfinite().all()), f"{what}: a missing value spoils what it tells")
        later = given.clone()
        later[:, -1] = (later[:, -1] + 1) % 11
        _near(m(later)[0][:, :-1], y[:, :-1], f"{what}: a later step changes what is predicted before it")
        _split(lambda at, s: m(given[:, at], s), None, y, state, what)
        reset = torch.zeros(B, T, dtype=torch.bool)
        reset[:, 3] = True
        _near(m(given, reset=reset)[0][:, 3:], m(given[:, 3:])[0], f"{what}: a reset is no fresh start")
        mask = torch.ones(B, T, dtype=torch.bool)
        mask[:, 2] = False
        kept = [0, 1, *range(3, T)]
        _near(m(given, mask=mask)[0][:, kept], m(given[:, kept])[0], f"{what}: a masked step is not left out")
        step = m.step_(given[:, 0], None)[0]
        _near(step, y[:, 0], f"{what}: step_ gives something else than forward")
        other = _built(build_model, config)
        other.load_state_dict(m.state_dict())
        _near(other(given)[0], y, f"{what}: saved and loaded it is another one")
        targets = given if symbols else torch.zeros(B, T, *([] if config.told == "classes" else [config.outputs]))
        counted = float(m.counted(targets if symbols or targets.ndim == 3 else targets.long()))
        expect_equal(counted, float(targets.numel()), f"{what}: counted() does not count the targets")
        expect(sum(m.flops().values()) >= 0, f"{what}: flops() must count")


def _signal(config: Any) -> Tensor:
    """A signal with missing values."""
    x = _random(B, T, config.features)
    x[0, 1, 0] = x[1, 0, -1] = torch.nan
    return x


def _check_memory(config: GraphConfig, what: str) -> None:
    cls = MEMORIES[config.memory.kind]
    m = _built(build_memory, config)
    width = cls.inputs(config) if config.into_memory else D
    x = _random(B, T, N, width).requires_grad_()
    first = m.initial_state(B)
    for name, part in first.items():
        expect_equal(list(part.shape[:2]), [B, N], f"{what}: state part '{name}' is not [batch, neuron, ...]")
        if part.is_floating_point():
            expect_equal(part.dtype, torch.float64, f"{what}: state part '{name}' of a float64 model is not float64")
    plain = _built(build_memory, config, torch.float32).initial_state(1)
    wrong = [n for n, p in plain.items() if p.is_floating_point() and p.dtype != torch.float32]
    expect(not wrong, f"{what}: state parts {wrong} of a float32 model are not float32")
    start = {k: _random(*v.shape) * 0.1 if v.is_floating_point() else v.clone() for k, v in first.items()}
    kept = {k: v.clone() for k, v in start.items()}
    y, last = m(x, start)[:2]
    expect_equal(list(y.shape), [B, T, N, D], f"{what}: what it gives is not [batch, time, neuron, width]")
    expect_equal(
        {k: v.shape for k, v in last.items()}, {k: v.shape for k, v in first.items()}, f"{what}: its state changes form"
    )
    expect(all(torch.equal(start[k], kept[k]) for k in kept), f"{what}: it changes the state it was given")
    _split(lambda at, s: m(x[:, at], s)[:2], start, y, last, what)
    live = {k: v.requires_grad_() for k, v in start.items() if v.is_floating_point()}
    again, end = m(x, start)[:2]
    total = again.sum() + sum(v.sum() for v in end.values())
    reached = torch.autograd.grad(total, list(live.values()), allow_unused=True) if live else ()
    expect(all(g is not None for g in reached), f"{what}: no gradient reaches the state it was given")
    start = {k: v.detach() for k, v in start.items()}
    with torch.no_grad():
        reset = torch.zeros(B, T, dtype=torch.bool)
        reset[:, 3] = True
        _near(m(x, start, reset=reset)[0][:, 3:], m(x[:, 3:], first)[0], f"{what}: a reset is no fresh start")
        mask = torch.ones(B, T, dtype=torch.bool)
        mask[:, 2:4] = False
        on = [0, 1, *range(4, T)]
        masked, shorter = m(x, start, mask=mask), m(x[:, on], start)
        _near(masked[0][:, on], shorter[0], f"{what}: masked steps are not left out")
        _states(masked[1], shorter[1], f"{what}: masked steps change the state")
        there = torch.ones(B, T, N, dtype=torch.bool)
        there[:, 2:4] = False
        skipped = remember(m, x, start, reset=None, mask=None, present=there)
        _near(skipped[0][:, on], shorter[0], f"{what}: steps at which all neurons are absent are not left out")
        _states(skipped[1], shorter[1], f"{what}: absent neurons' state changes")
        there[:, 2:4, 1:] = True
        kept = remember(m, x, start, reset=None, mask=None, present=there)[0]
        _near(kept[:, on, 0], shorter[0][:, :, 0], f"{what}: steps at which a neuron is absent are not left out")
        _near(kept[:, :, 1:], y[:, :, 1:], f"{what}: a neuron's absence reaches another")
        one, state = m(x[:, :1], start)[:2], {k: v.clone() for k, v in start.items()}
        _near(m.step_(x[:, :1], state), one[0], f"{what}: step_ gives something else than forward")
        _states(state, one[1], f"{what}: step_ does not bring the state it is given to where forward does")
        other = x.detach().clone()
        other[:, :, 1] += 1
        _near(m(other, start)[0][:, :, [0, 2, 3]], y[:, :, [0, 2, 3]], f"{what}: neurons meet inside the memory")
        other = x.detach().clone()
        other[1] += 1
        _near(m(other, start)[0][0], y[0], f"{what}: streams of a batch meet")
    expect(all(n >= 0 for n in m.flops().values()), f"{what}: flops() must count")


def _check_router(config: GraphConfig, what: str) -> None:
    r, edges = _built(ROUTERS[config.router.kind], config), edges_of(config)
    with torch.no_grad():
        for p in r.parameters():  # messages that begin at zero would show nothing
            p.add_(torch.randn_like(p) * 0.1)
        x, first = _random(B, T, N, D), {k: v.to(torch.float64) for k, v in r.initial_state(B).items()}
        width = config.memory_inputs if r.into_memory else D
        message, last = r(x, first, edges=edges)[:2]
        expect_equal(
            list(message.shape), [B, T, N, width], f"{what}: its message is not [batch, time, neuron, {width}]"
        )
        expect_equal(set(last), set(first), f"{what}: its state has other parts than initial_state says")
        if r.parallel_in_time:
            _split(lambda at, s: r(x[:, at], s, edges=edges)[:2], first, message, last, what)
        whole = Edges.complete(N) if edges is None else edges
        to, source = next((i, j) for i, j in itertools.product(range(N), range(N)) if i != j and whole.dense()[i, j])
        cut = whole.close([(to, source)])
        changed = x.clone()
        changed[:, :, source] += 1
        moved = r(changed, first, edges=cut)[0] - r(x, first, edges=cut)[0]
        _near(moved[:, :, to], torch.zeros_like(moved[:, :, to]), f"{what}: a closed edge carries something")
        deaf = [i for i in range(N) if not whole.dense()[i, source]]
        moved = r(changed, first, edges=edges)[0] - message
        _near(moved[:, :, deaf], torch.zeros_like(moved[:, :, deaf]), f"{what}: a neuron hears one it has no edge from")
        off = torch.zeros(B, T, N, dtype=torch.float64)
        _near(r(x, first, edges=edges, gate=off)[0], r(changed, first, edges=edges, gate=off)[0],
              f"{what}: with all gates at zero something is heard")  # fmt: skip
        if r.takes_present:
            there = torch.ones(B, T, N, dtype=torch.bool)
            _near(r(x, first, edges=edges, present=there)[0], message, f"{what}: all present, it gives something else")
            there[..., source] = False
            here = [i for i in range(N) if i != source]
            found, bar = (r(z, first, edges=edges, present=there)[0][:, :, here] for z in (changed, x))
            _near(found, bar, f"{what}: an absent neuron is heard")
            none = r(x, first, edges=edges, present=torch.zeros_like(there))[0]
            expect(bool(none.isfinite().all()), f"{what}: where all neurons are absent it gives NaN")
        tape = Tape(("routing",))
        recorded = r(x, first, edges=edges, tape=tape.at(0, None))[0]
        _near(recorded, message, f"{what}: it gives something else while it is recorded")
        weights = tape.mean("routing")[0]
        expect_equal(list(weights.shape[-2:]), [N, N], f"{what}: what it records is not [heads, to, from]")
        if r.mass is not None and not r.lags:  # at first nothing has come over an edge that takes time
            rows = weights.abs().sum(-1)
            _near(rows, torch.full_like(rows, r.mass), f"{what}: rows of its weights do not sum to its mass {r.mass}")
    expect(all(n >= 0 for n in r.flops().values()), f"{what}: flops() must count")


def _check_exchangeable(kind: str, options: dict[str, Any]) -> None:
    """Alike neurons hear what one alone hears, if the router says so."""

    def made(neurons: int) -> Any:
        return _built(ROUTERS[kind], _config(neurons=neurons, router={"kind": kind, **options}, weights="shared"))

    if not (many := made(N)).exchangeable:
        return
    one = made(1)
    one.load_state_dict(many.state_dict())
    x = _random(B, T, 1, D)
    with torch.no_grad():
        heard = many(x.expand(-1, -1, N, -1))[0]
        _near(
            heard,
            one(x)[0].expand_as(heard),
            f"router '{kind}' says it is exchangeable, and alike neurons hear another",
        )


def _check_edges(edges: Edges, what: str) -> None:
    expect_equal(edges.sources.dtype, torch.int64, f"{what}: sources are not int64")
    expect_equal(list(edges.sources.shape[:1]), [N], f"{what}: sources are not [neurons, K]")
    expect_equal(edges.open.shape, edges.sources.shape, f"{what}: open has another shape than sources")
    expect(bool(((edges.sources >= 0) & (edges.sources < N)).all()), f"{what}: a source is no neuron")
    for i in range(N):
        heard = edges.sources[i][edges.open[i]].tolist()
        expect_equal(len(set(heard)), len(heard), f"{what}: neuron {i} hears one twice")


def _check_graph(config: GraphConfig, what: str) -> None:
    """The kind inside a graph: any split, steps in place, saved and loaded, built without memory for weights."""
    graph = _built(Graph, config)
    x = _random(B, T, config.input_width)
    y, last = graph(x)
    _split(lambda at, s: graph(x[:, at], s), None, y, last, f"a graph with {what}")
    other = _built(Graph, config, seed=1)
    other.load_state_dict(graph.state_dict())
    _near(other(x)[0], y, f"a graph with {what}: saved and loaded it is another one")
    _near(copy.deepcopy(graph)(x)[0], y, f"a graph with {what}: a copy is another one")
    state = graph.initial_state(B).to(torch.float64)
    with torch.no_grad():
        for t in range(T):
            step = graph.readout(graph.run_(graph.distribute(x[:, t : t + 1]), state))
            _near(step, y[:, t : t + 1], f"a graph with {what}: steps in place give something else")
    with torch.device("meta"):
        Graph(config)


def _config(**fields: Any) -> GraphConfig:
    return GraphConfig(**{"neurons": N, "width": D, "rounds": 2, **fields})


def _built(make: Callable[[Any], nn.Module], config: Any, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return make(config).to(dtype).eval()


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def _split(call: Callable[[slice, Any], Any], state: Any, whole: Tensor, last: Any, what: str) -> None:
    """Any split of the time axis gives the result of one pass."""
    for cuts in ([1] * T, [3, T - 3], [T - 1, 1]):
        at, parts, now = 0, [], state
        for n in cuts:
            y, now = call(slice(at, at + n), now)
            parts.append(y)
            at += n
        _near(torch.cat(parts, 1), whole, f"{what}: read in parts of {cuts} it gives something else than in one pass")
        _states(now, last, f"{what}: read in parts of {cuts} it ends in another state")


def _states(found: Any, expected: Any, sentence: str) -> None:
    for key, part in expected.items() if isinstance(expected, State | dict) else ():
        _near(found[key], part, f"{sentence} ('{key}')")


def _near(found: Tensor, expected: Tensor, sentence: str) -> None:
    if not torch.allclose(found, expected.to(found.dtype), **_CLOSE, equal_nan=True):
        raise AssertionError(f"{sentence}; they differ by up to {(found - expected).abs().max():.2g}")
