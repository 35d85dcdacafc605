"""Models merged: the mean of their logits, each by itself again when the others are taken out, two halves the whole."""

import warnings
from typing import Any

import pytest
import torch

import inn
from inn.models.signal_graph import SignalGraph
from inn.registry import GATES, INNERS, MEMORIES, ROUTERS
from inn.surgery.merge import merge
from inn.surgery.neurons import grow, keep
from inn.surgery.states import beside, carried
from inn.system.errors import InputError

FIELDS = {"vocab": 9, "width": 8, "rounds": 1, "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4}}
TOKENS = torch.arange(16).reshape(2, 8) ** 2 % 7
OPTIONS = {
    "attention": {"heads": 2}, "workspace": {"heads": 2, "workspace_width": 8}, "mixture": {"top": 2},
    "bus": {"bus_width": 4}, "gru": {"attend": 3}, "psn": {"window": 2}, "kan": {}, "address": {},
    "groups": {"groups": 2, "between": 0}, "ring": {},
}  # fmt: skip
GROUPS = {"kind": "groups", "groups": 2, "between": 0}
NOT_MERGED = ("none", "address", "experts")
PAIRS = [
    ({}, {}), ({"memory": "gru"}, {}), ({"inner": "kan"},) * 2, ({"gate": "soft", "router": "attention"},) * 2,
    *(({"router": kind}, {"router": kind}) for kind in ROUTERS if kind not in ("dendrites", "workspace", "none")),
    ({"input": "copy"}, {}), ({"embedding_width": 4}, {"embedding_width": 3, "input": "copy"}),
    ({"readout": "mean"}, {"readout": "attention", "input": "copy"}),
    ({"weights": "shared", "identity": "silent"}, {"identity": "silent"}),
    ({"weights": "communal", "communal_states": 5},) * 2,
    ({"topology": "ring", "neurons": 4}, {"topology": {"kind": "edges", "edges": [[0, 1, -1]]}}),
    ({"topology": {"kind": "complete", "sensors": [0]}, "readout": {"kind": "concat", "read": [1]}}, {}),
    ({"population": [{"neurons": 1}, {"neurons": 1, "memory": "gru"}]}, {"memory": "gru"}),
    ({"recall": "none"}, {"recall": [1, 2, 3, 2, 1]}),
]  # fmt: skip
SLOW = [
    *(({"memory": kind}, {}) for kind in MEMORIES if kind not in ("mamba", "gru")), ({"router": "none"},) * 2,
    *(({"gate": kind, "router": "attention"},) * 2 for kind in GATES if kind not in NOT_MERGED),
    *(({"inner": kind},) * 2 for kind in INNERS if kind != "none"), ({"embedding_width": 4}, {}),
    ({"input": "copy"}, {"input": "copy", "tied": False}), ({"readout": "mean"}, {}),
    ({"weights": "shared", "identity": "embedding"},) * 2, ({"weights": "communal", "communal_states": 5}, {}),
    ({"weights": "communal", "communal_states": 3, "router": "bus"}, {"router": "bus", "weights": "shared"}),
    ({"topology": GROUPS}, {"topology": {"kind": "rewired", "density": 0.6}}), ({"norm": "rms"},) * 2,
    ({"norm": "none"},) * 2, ({"residual": "input"},) * 2, ({"share_rounds": True, "rounds": 2},) * 2,
    ({"router": {"kind": "dendrites", "lag": 1}, "memory": "gru", "rounds": 2},) * 2,
    ({"router": {"kind": "attention", "heads": 2, "activation": "stick"}},) * 2,
    ({"inner": {"kind": "kan", "families": ["rbf", "hinge"], "each": True}, "neurons": 2},
     {"inner": {"kind": "kan", "families": ["rbf", "hinge", "rbf"], "each": True}}),
]  # fmt: skip


def with_slow(quick, slow):
    """Those of the quick suite and those of the whole one, for `parametrize`."""
    rest = [pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.slow) for one in slow]
    return [*quick, *rest]


def model(seed, make: Any = inn.INN, neurons=3, **fields):
    torch.manual_seed(seed)
    for part in ("memory", "router", "topology", "inner", "gate"):
        if isinstance(kind := fields.get(part), str) and kind in OPTIONS:
            fields[part] = {"kind": kind, **OPTIONS[kind]}
    base = FIELDS if make is inn.INN else {k: FIELDS[k] for k in ("width", "rounds")}
    made = make(**{**base, "neurons": neurons, **fields}).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn_like(p))
    getattr(made, "graph", made).ids += 10 * seed
    return made.eval()


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize(("one", "two"), with_slow(PAIRS, SLOW), ids=str)
@torch.no_grad()
def test_each_says_what_it_said_and_all_their_mean(one, two):
    a, b = model(1, **{"neurons": 2, **one}), model(2, **two)
    both = merge(a, b)
    (said_a, state_a), (said_b, state_b) = a(TOKENS), b(TOKENS)
    said, state = both(TOKENS)
    near(said, (said_a + said_b) / 2)
    near(both(TOKENS, beside([state_a, state_b], [a, b], both))[0], (a(TOKENS, state_a)[0] + b(TOKENS, state_b)[0]) / 2)
    n = a.config.neurons
    for numbers, own, expected in ((range(n), a, said_a), (range(n, n + b.config.neurons), b, said_b)):
        part = keep(both, neurons=numbers)
        near(part(TOKENS)[0], expected)
        assert part.graph.ids.tolist() == own.graph.ids.tolist()
        near(part(TOKENS, carried(state, both, part))[0], own(TOKENS, own(TOKENS)[1])[0])


HALVES = [
    {}, {"readout": "mean", "input": "copy"}, {"norm": "rms"}, {"tied": False, "input": "copy"},
    {"population": [{"neurons": 1}, {"neurons": 3, "memory": "gru"}]},
]  # fmt: skip
SLOW_HALVES = [
    {"weights": "communal", "communal_states": 5, "router": "bus"}, {"router": "workspace"},
    {"readout": "attention"}, {"norm": "none"}, {"embedding_width": 4}, {"weights": "shared", "router": "attention"},
    {"router": "mixing"}, {"router": "mixture"}, {"router": "static", "memory": "gru"}, {"inner": "kan"},
    {"router": {"kind": "dendrites", "lag": 1}, "rounds": 2}, {"gate": "soft"},
    {"router": {"kind": "attention", "heads": 2, "sink": True}},
    {"weights": "shared", "inner": "separable", "identity": "embedding", "router": "bus"},
]  # fmt: skip


@pytest.mark.parametrize("fields", with_slow(HALVES, SLOW_HALVES), ids=str)
@torch.no_grad()
def test_two_halves_are_the_model_again(fields):
    whole = model(0, neurons=4, **{"topology": GROUPS, **fields})
    halves = [keep(whole, neurons=n) for n in ([0, 1], [2, 3])]
    both = merge(*halves)
    expected, state = whole(TOKENS)
    near(both(TOKENS)[0], expected)
    assert both.config.readout == whole.config.readout
    assert both.config.tied == whole.config.tied or not halves[0].config.tied
    assert both.config.tied != whole.config.tied or both.num_parameters == whole.num_parameters
    near(both(TOKENS, carried(state, whole, both))[0], whole(TOKENS, state)[0])
    near(keep(both, neurons=[0, 1])(TOKENS)[0], halves[0](TOKENS)[0])
    moved = keep(whole, neurons=[2, 3])
    moved.head.bias += 0.1  # trained since: each says what it said
    near(merge(halves[0], moved)(TOKENS)[0], (halves[0](TOKENS)[0] + moved(TOKENS)[0]) / 2)
    if fields.get("population") is None:
        quarters = [keep(whole, neurons=[n]) for n in (3, 1, 0, 2)]
        pairs = keep(merge(*quarters), neurons=[0, 3])
        assert pairs.graph.ids.tolist() == [3, 2]


@pytest.mark.parametrize("router", ["dendrites", "bus", "mixing"])
def test_edges_across_begin_without_effect_and_with_a_gradient(router):
    a, b = model(1, neurons=2, router=router), model(2, router=router, topology="groups")
    both = merge(a, b, across=True)
    near(both(TOKENS)[0], (a(TOKENS)[0] + b(TOKENS)[0]) / 2)
    both(TOKENS)[0].square().sum().backward()
    weights, view = both.graph.round(0).router.edge_weights()[0]
    sources = both.graph.edges.sources.tolist() if both.graph.edges else [list(range(5))] * 5
    across = [(i, k) for i, row in enumerate(sources) for k, s in enumerate(row) if (i < 2) != (s < 2)]
    assert len(across) == 12
    for i, k in across:
        assert not view(weights)[i, k].any()
        assert view(weights.grad)[i, k].any()


@pytest.mark.parametrize("options", [{}, {"head": "next"}, {"pool": "mean", "norm": "rms"}, {"input": "copy"},
    {"readout": "mean", "head": "classes", "outputs": 4}, {"head": "quantiles", "outputs": 2}], ids=str)  # fmt: skip
@torch.no_grad()
def test_signals(options):
    from inn.config.assemble import model_config
    from inn.nn.state import State

    def signals(seed, neurons):
        torch.manual_seed(seed)
        made = SignalGraph(model_config("signal", neurons=neurons, width=8, rounds=1, features=3, **options))
        made = made.double().eval()
        torch.manual_seed(0)
        made.graph.ids += 10 * seed
        return made.standardise(torch.randn(50, 3) * 3)

    a, b = signals(1, 2), signals(2, 3)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    x[0, 3, 1] = torch.nan
    both = merge(a, b)
    (said_a, state_a), (said_b, state_b), (said, state) = a(x), b(x), both(x)
    if options.get("head") != "quantiles":
        near(said, (said_a + said_b) / 2)
    else:
        near(said[..., 0], (said_a[..., 0] + said_b[..., 0]) / 2)
    assert isinstance(state, State)
    near(both(x, beside([state_a, state_b], [a, b], both))[0], both(x, state)[0])
    part = keep(both, neurons=[2, 3, 4])
    near(part(x)[0], said_b)
    near(part(x, carried(state, both, part))[0], b(x, state_b)[0])
    near(grow(both, neurons=1)(x)[0], said)
    halves = [keep(a, neurons=[n]) for n in (0, 1)]
    near(keep(merge(*halves), neurons=[1])(x)[0], halves[1](x)[0])


@torch.no_grad()
def test_plain_graphs_side_by_side():
    a, b = model(1, inn.Graph, neurons=2), model(2, inn.Graph)
    both, x = merge(a, b), torch.randn(1, 5, 40, dtype=torch.float64)
    near(both(x)[0], torch.cat((a(x[..., :16])[0], b(x[..., 16:])[0]), -1))
    assert both.config.readout.kind == "concat"
    a, b = (model(seed, inn.Graph, neurons=2, readout="mean", input="copy") for seed in (1, 2))
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    near(merge(a, b)(x)[0], torch.cat((a(x)[0], b(x)[0]), -1))


@torch.no_grad()
def test_three_in_one_through_files_and_step_by_step(tmp_path):
    from inn.config.assemble import stored_model
    from inn.config.parts import plain
    from inn.models.build import build_model
    from inn.runs import checkpoint as checkpoints

    a, b, c = (model(seed, neurons=n, memory=kind, rounds=1).float() for seed, n, kind in
               ((1, 2, "mamba"), (2, 2, "gru"), (3, 1, "mamba")))  # fmt: skip
    every = merge(a, b, c).eval()
    logits, _ = every(TOKENS)
    torch.testing.assert_close(logits, sum(m(TOKENS)[0] for m in (a, b, c)) / 3, atol=1e-5, rtol=0)
    assert [len(r.read) for r in merge(merge(a, b), c).config.readouts] == [2, 2, 1]
    state = every.initial_state(2)
    for t in range(TOKENS.shape[1]):
        said, state = every.step_(TOKENS[:, t], state)
        torch.testing.assert_close(said, logits[:, t], atol=1e-5, rtol=0)
    tensors, aliases = checkpoints.pack_model(every)
    path = checkpoints.save(tmp_path, checkpoints.Checkpoint(0, {"model": tensors}, {"aliases": aliases}))
    again = build_model(stored_model(plain(every.config)))
    checkpoints.unpack_model(again, checkpoints.load(path, parts=["model"]), path)
    assert torch.equal(again.eval()(TOKENS)[0], logits)
    some = merge(keep(a, neurons=[0]), c)(TOKENS)[0]
    torch.testing.assert_close(keep(every, neurons=[0, 4])(TOKENS)[0], some, atol=1e-5, rtol=0)


def test_ids_that_are_taken_become_others_and_that_is_said():
    a, b = model(0, neurons=2), model(1)
    b.graph.ids -= 10
    with pytest.warns(UserWarning, match=r"had the same ids: \[0, 1\] of later ones are \[3, 4\] now"):
        both = merge(a, b)
    assert both.graph.ids.tolist() == [0, 1, 3, 4, 2]
    assert b.graph.ids.tolist() == [0, 1, 2]


def test_what_cannot_be_merged_is_refused():
    from inn.data.vocabulary import Bytes, Characters

    bytes_, characters = model(1, vocab=256), model(2, vocab=256)
    bytes_.vocabulary, characters.vocabulary = Bytes(), Characters("abc")
    slots = model(2, recall_options={"slots": 128})
    for one, two, sentence in (
        (model(1), model(2, vocab=8), "vocab is 9 in one and 8 in the other"),
        (model(1), model(2, width=16), "width is 8 in one and 16"),
        (model(1), model(2, rounds=2), "rounds is 1 in one and 2"),
        (model(1), model(2, share_rounds=True), "share_rounds is False in one and True"),
        (model(1), model(2, router="bus"), "router is DendritesOptions.*BusOptions"),
        (model(1), model(2, inner="hourglass"), "inner is .* in the other"),
        (model(1), slots, "recall.slots is 64 in one and 128"),
        (model(1), model(2).float(), "dtypes are torch.float64 and torch.float32"),
        (bytes_, characters, "one reads .* and the other"),
        (model(1), model(1, inn.Graph), "different kinds cannot be merged: INN and Graph"),
        (model(1), torch.nn.Linear(1, 1), "not of a Linear"),
        (model(1, router="workspace"), model(2, router="workspace"), "mix.weight' is of no neuron"),
        (model(1, topology="signatures", width=16), model(2, topology="signatures", width=16), "learns its edges"),
        (model(1, gate="address"), model(2, gate="address"), "shares the steps out"),
        (model(1, spikes=2.0), model(2, spikes=2.0), "counts of spikes"),
    ):
        with pytest.raises(InputError, match=sentence):
            merge(one, two)
    one, two = (model(seed, router="attention") for seed in (1, 2))
    with pytest.raises(InputError, match="no edges across: router 'attention' shares a sum"):
        merge(one, two, across=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert merge(one, one).config.neurons == 6
