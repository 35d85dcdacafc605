"""Neurons taken out and put in: exact in every kind of part that allows it; states, ids, gradients, refusals."""

import pytest
import torch

import inn
from inn.analysis.lesions.lesion import silenced, skipped
from inn.models.signal_graph import SignalGraph
from inn.registry import GATES, INNERS, MEMORIES, READOUTS, ROUTERS, TOPOLOGIES
from inn.surgery.neurons import concentrate, grow, keep
from inn.surgery.states import carried
from inn.system.errors import InputError

FIELDS = {
    "vocab": 9,
    "neurons": 5,
    "width": 8,
    "rounds": 1,
    "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4},
}
TOKENS = torch.arange(16).reshape(2, 8) ** 2 % 7
KEPT, GONE = [0, 2, 3], [1, 4]
OPTIONS = {
    "attention": {"heads": 2}, "workspace": {"heads": 2, "workspace_width": 8}, "mixture": {"top": 2},
    "bus": {"bus_width": 4}, "groups": {"groups": 2, "between": 1}, "rewired": {"density": 0.6},
    "edges": {"edges": [[0, 2, -1], [0, 3], [2, 0], [1, 4], [3, 1], [4, 3]]},
    "signatures": {"width": 2, "tau": 1.0}, "psn": {"window": 2}, "gru": {"attend": 3},
}  # fmt: skip
COUNTS = {"kind": "counts", "contexts": [1, 2, 3, {"kind": "last", "skip": 1, "length": 1}], "slots": 64}
PARTS = {"kind": "parts", "parts": [{"neurons": 3}, {"neurons": 2, "readout": {"kind": "attention", "silent": 0.5}}]}
MODELS = [
    {},
    *({"memory": kind} for kind in MEMORIES if kind != "mamba"),
    *({"router": kind} for kind in ROUTERS if kind != "dendrites"),
    *({"topology": kind} for kind in TOPOLOGIES if kind not in ("complete", "file", "chain")),
    {"topology": "chain", "rounds": 4},
    *({"topology": topology, "router": "attention"} for topology in ("ring", "edges")),
    *({"topology": "edges", "router": router} for router in ("mixing", "bus", "static", "mixture", "workspace")),
    *({"gate": kind, "router": "attention"} for kind in GATES if kind not in ("none", "address", "experts")),
    *({"inner": kind} for kind in INNERS if kind != "none"),
    *(
        {"readout": kind, "input": way}
        for kind in READOUTS
        if kind not in ("each", "parts")
        for way in ("copy", "split")
    ),
    *({"readout": PARTS, "input": way} for way in ("copy", "split")),
    {"readout": PARTS, "norm": "rms", "tied": False},
    *({"norm": "rms", "readout": kind} for kind in ("concat", "mean")),
    {"inner": {"kind": "kan", "families": ["rbf", "hinge", "rbf", "hinge", "bspline"], "each": True}},
    {"router": {"kind": "dendrites", "lag": 1}, "memory": "gru"},
    {"router": {"kind": "dendrites", "lag": 1}},
    {"router": {"kind": "attention", "heads": 2, "lag": 1}, "memory": "lstm"},
    {"router": {"kind": "attention", "heads": 2, "sink": True}},
    *({"router": {"kind": "attention", "heads": 2, "activation": kind}} for kind in ("stick", "fourier")),
    {"weights": "shared", "identity": "embedding", "router": "attention"},
    {"weights": "communal", "communal_states": 5},
    {"weights": "communal", "communal_states": 5, "router": "bus"},
    *({"recall": COUNTS, "readout": kind} for kind in ("concat", "mean")),
    {"recall": COUNTS, "head": "adaptive", "cutoffs": [4], "readout": "mean", "tied": False},
    {"residual": "input"},
    {"tied": False},
    {"embedding_width": 4},
    {"head": "adaptive", "cutoffs": [4], "readout": "mean", "tied": False},
    {"share_rounds": True},
    {"population": [{"neurons": 2}, {"neurons": 3, "memory": "gru"}]},
    {"population": [{"neurons": 3, "memory": "lstm"}, {"neurons": 2}], "router": "attention"},
    {"topology": {"kind": "complete", "sensors": [0, 1]}, "readout": {"kind": "concat", "read": [2, 3, 4]}},
    {"topology": {"kind": "ring", "sensors": [0, 1]}, "readout": {"kind": "mean", "read": [2, 3]}, "router": "mixing"},
]


def model(make=inn.INN, **fields):
    torch.manual_seed(0)
    for part, kind in list(fields.items()):
        if isinstance(kind, str) and kind in OPTIONS and part in ("memory", "router", "topology"):
            fields[part] = {"kind": kind, **OPTIONS[kind]}
    given = {**(FIELDS if make is inn.INN else {k: FIELDS[k] for k in ("neurons", "width", "rounds")}), **fields}
    made = make(**given).double()
    with torch.no_grad():
        for p in made.parameters():  # what starts at zero speaks, too
            p.add_(0.2 * torch.randn_like(p))
    return made.eval()


def normed(model):
    torch.nn.utils.parametrizations.weight_norm(model.head)
    return model


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("fields", MODELS, ids=str)
@torch.no_grad()
def test_what_is_kept_and_what_is_grown_compute_the_same(fields):
    whole = model(**fields)
    before = {name: t.clone() for name, t in whole.state_dict().items()}
    small = keep(whole, neurons=KEPT)
    with silenced(whole, GONE):
        expected, state = whole(TOKENS)
        further, _ = whole(TOKENS, state)
    logits, own = small(TOKENS)
    near(logits, expected)
    near(small(TOKENS, carried(state, whole, small))[0], further)
    near(small(TOKENS, own)[0], further)
    near(keep(small, neurons=[0, 2])(TOKENS)[0], keep(whole, neurons=[0, 3])(TOKENS)[0])
    assert small.graph.ids.tolist() == KEPT
    assert sum(small.flops().values()) < sum(whole.flops().values())
    everyone = keep(whole, neurons=range(5))
    assert torch.equal(everyone(TOKENS)[0], whole(TOKENS)[0])

    expected, state = whole(TOKENS)
    further, _ = whole(TOKENS, state)
    for memory in (None, "elman"):
        large = grow(whole, neurons=2, memory=memory, seed=3)
        near(large(TOKENS)[0], expected)
        near(large(TOKENS, carried(state, whole, large))[0], further)
        assert large.graph.ids.tolist() == [*range(7)]
    if "fourier" not in str(fields):  # whose edges are listed now
        near(keep(large, neurons=range(5))(TOKENS)[0], expected)
        near(keep(large, neurons=KEPT)(TOKENS)[0], logits)
    assert all(torch.equal(t, before[name]) for name, t in whole.state_dict().items())


@pytest.mark.parametrize("fields", [{}, {"router": "attention"}, {"router": "bus"}, {"router": "mixing"},
    {"readout": "mean", "input": "copy"}, {"norm": "rms"}, {"topology": "ring"},
    {"weights": "communal", "communal_states": 5}], ids=str)  # fmt: skip
def test_new_neurons_get_a_gradient_everywhere_after_a_step(fields):
    large = grow(model(**fields), neurons=2, seed=1).train()
    optimizer = torch.optim.Adam(large.parameters(), 1e-2)
    tokens = torch.arange(32).reshape(2, 16) ** 2 % 7  # which comes again, so that all contexts are found
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(large(tokens)[0].flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
        optimizer.step()
    gain = "backbone.readout.gain" if fields.get("readout") == "mean" else "norm.gain"
    assert bool(large.get_parameter(gain).all())
    idle = {"key.bias", "out_proj.bias"}  # attention's weights do not know of the first
    for name, p in large.named_parameters():
        if p.grad is None or name.split("router.")[-1] in idle:
            continue
        for axis, size in enumerate(p.shape):
            if size == 7:
                assert bool(p.grad.narrow(axis, 5, 2).any()), name


@pytest.mark.parametrize("fields", [{}, {"share_rounds": True}, {"router": "attention"}], ids=str)
@torch.no_grad()
def test_rounds_that_go_leave_the_neurons_as_they_came(fields):
    whole = model(rounds=3, **fields)
    small = keep(whole, rounds=[0, 2])
    with skipped(whole, 1):
        expected, state = whole(TOKENS)
        further, _ = whole(TOKENS, state)
    near(small(TOKENS)[0], expected)
    near(small(TOKENS, carried(state, whole, small, rounds=[0, 2]))[0], further)
    both = keep(whole, neurons=KEPT, rounds=[2])
    assert (both.config.neurons, both.config.rounds) == (3, 1)
    near(both(TOKENS)[0], keep(keep(whole, neurons=KEPT), rounds=[2])(TOKENS)[0])


@pytest.mark.parametrize("options", [{}, {"head": "next"}, {"pool": "mean", "norm": "rms"}, {"input": "copy"},
    {"head": "quantiles", "outputs": 2}, {"readout": "mean"}], ids=str)  # fmt: skip
@torch.no_grad()
def test_signals_and_plain_graphs(options):
    from inn.config.assemble import model_config

    config = model_config("signal", neurons=5, width=8, rounds=1, features=3, **options)
    torch.manual_seed(0)
    whole = SignalGraph(config).double().eval()
    whole.standardise(torch.randn(50, 3) * 3)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    x[0, 3, 1] = torch.nan
    small, large = keep(whole, neurons=KEPT), grow(whole, neurons=2, memory="gru")
    with silenced(whole, GONE):
        expected, state = whole(x)
        near(small(x)[0], expected)
        near(small(x, carried(state, whole, small))[0], whole(x, state)[0])
    expected, state = whole(x)
    near(large(x)[0], expected)
    near(large(x, carried(state, whole, large))[0], whole(x, state)[0])
    graph = model(inn.Graph)
    x = torch.randn(2, 6, 40, dtype=torch.float64)
    at = torch.cat([torch.arange(8 * n, 8 * n + 8) for n in KEPT])
    with silenced(graph, GONE):
        near(keep(graph, neurons=KEPT)(x[..., at])[0], graph(x)[0][..., at])
    near(grow(graph)(torch.cat((x, x[..., :8]), -1))[0][..., :40], graph(x)[0])


@pytest.mark.parametrize("kept", [range(5), range(4)], ids=["whole", "less one"])
def test_frozen_old_neurons_stay_as_they_were(kept):
    whole = keep(model(router="mixture", input="copy"), neurons=kept)
    larger, count = grow(whole, 2, freeze=True).train(), len(kept)
    assert larger.graph.ids.tolist() == list(range(count + 2))
    optimizer = torch.optim.Adam((p for p in larger.parameters() if p.requires_grad), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        larger(TOKENS)[0].square().sum().backward()
        optimizer.step()
    before, moved = dict(whole.named_parameters()), set()
    for name, p in larger.named_parameters():
        if name not in before or any(a in name for a in ("router.ask", "router.addresses")):
            continue
        old, size = before[name], whole.config.readout_width
        if name == "bridge.weight":  # in front of its last column stand those of the new neurons
            assert torch.equal(p[:, :size], old[:, :size])
            assert count == 5 or torch.equal(p[:, -1], old[:, -1])
        else:
            assert torch.equal(p[tuple(slice(0, n) for n in old.shape)], old), name
        moved |= {name} if p.grad is not None and bool(p.grad.any()) else set()
    assert {"backbone.rounds.0.router.value.weight", "bridge.weight"} <= moved
    mixed = grow(whole, 1, memory="gru", freeze=True)
    assert not mixed.get_parameter("backbone.rounds.0.memory.groups.0.out_proj.weight").requires_grad
    assert mixed.get_parameter("backbone.rounds.0.memory.groups.1.heard").requires_grad


@pytest.mark.parametrize("kind", ["last", "counts"])
def test_a_new_neuron_recalls_what_none_of_the_others_does(kind):
    options = {"kind": kind, "contexts": [2, 3, 4, 5], "slots": 64}
    model = inn.INN(vocab=9, neurons=4, width=4, rounds=1, recall=options)
    rest = inn.keep(model, neurons=[0, 1, 3])
    more = inn.grow(rest, neurons=7)

    def contexts(model):
        return [one for n in range(model.config.neurons) for one in model.recall.contexts(n)]

    usual, kept = contexts(inn.INN(vocab=9, neurons=8, width=4, rounds=1, recall=kind)), contexts(rest)
    new = [one for one in usual if one not in kept]
    assert contexts(more) == [*kept, *(new + kept * 2)[:7]]


def test_choices_are_concentrated():
    torch.manual_seed(0)
    whole = model(router="mixture")
    narrow = concentrate(whole, 0.3).train()
    assert narrow.config.router.loss == narrow.graph.config.router.loss == "concentrate"
    assert whole.config.router.loss == "none"
    optimizer = torch.optim.Adam(narrow.parameters(), 1e-2)
    costs = []
    for _ in range(10):
        cost = narrow(TOKENS)[1].penalties["concentrate"]
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    assert costs[-1] < costs[0]


def test_what_cannot_be_is_refused():
    roles: dict = {"topology": {"kind": "complete", "sensors": [0]}, "readout": {"kind": "mean", "read": [1]}}
    for call, sentence in (
        (lambda: keep(model()), "give neurons=.0, 1. or rounds=.0."),
        (lambda: keep(model(), neurons=[5]), "no neuron 5; there are neurons 0 to 4"),
        (lambda: keep(model(), neurons=[]), "no neuron is named"),
        (lambda: keep(model(), rounds=[2]), "no round 2"),
        (lambda: grow(model(), 0), "at least 1"),
        (lambda: grow(model(), memory="wood"), "unknown memory 'wood'"),
        (lambda: keep(model(**roles), neurons=[1, 2]), "none of the neurons that are left takes the input in"),
        (lambda: keep(model(**roles), neurons=[0, 2]), "none of the neurons that are left is read out"),
        (lambda: keep(model(gate="address"), neurons=[0]), "gate 'address' shares the steps"),
        (lambda: grow(model(router="attention", topology="signatures")), "would let router 'attention' hear them"),
        (lambda: keep(model(topology="chain", readout="each", rounds=4), neurons=[0]), "readout 'each' does not say"),
        (lambda: keep(model(spikes=2.0), neurons=[0]), "counts of spikes"),
        (lambda: keep(model(router={"kind": "attention", "heads": 2, "activation": "relu2"}), neurons=[0]), "divides"),
        (lambda: keep(torch.nn.Linear(2, 2), neurons=[1]), "not of a Linear"),
        (lambda: keep(model(), neurons=range(10**12)), "no neuron 5; there are neurons 0 to 4"),
        (lambda: keep(model(), neurons=[1.5]), "must be a list of whole numbers or null, not .1.5."),
        (lambda: grow(model(), 10**9), "at most 1,048,576 neurons"),
        (lambda: grow(model(), seed=-1), "seed must be from 0"),
        (lambda: grow(model().to("meta")), "no numbers yet"),
        (lambda: inn.cut(normed(model()), neurons=[0]), "parametrised, pruned or adapted"),
        (lambda: concentrate(model(router="attention")), "no router 'mixture'"),
        (
            lambda: inn.collapse(grow(model(weights="shared", input="copy", readout="mean"))),
            "were taken out of this model",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
