"""Feedback (`lag: 1`): what is heard is of the step before; in one loop and step by step it is the same."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis.lesions.lesion import skipped
from inn.nn.feedback import SAID, FeedbackRound
from inn.nn.state import State
from inn.surgery.collapse import collapse

N, D, T = 4, 6, 7


def graph(**fields):
    torch.manual_seed(0)
    fields = {"neurons": N, "width": D, "rounds": 2, "memory": "gru", "lag": 1, **fields}
    if "population" in fields:
        del fields["neurons"]
    if fields.get("router") == "workspace":
        del fields["lag"]
    made = inn.Graph(**fields).double().eval()
    with torch.no_grad():
        for p in made.parameters():  # messages that begin at zero would show nothing
            p.add_(torch.randn_like(p) * 0.2)
    return made


def inputs(seed=1, time=T):
    return torch.randn(2, time, N * D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def in_steps(monkeypatch):
    monkeypatch.setattr(FeedbackRound, "_fits_the_loop", lambda self: False)
    monkeypatch.setattr(FeedbackRound, "_fits_mambas", lambda self, x: False)


def test_neurons_with_grus_are_together_one_gru():
    """PyTorch's GRU of N x D numbers: R and U are its recurrent matrix, what neurons take in themselves its input."""
    layer = graph(rounds=1)
    only, x = layer.rounds[0], inputs()
    memory, router = only.memory, only.router
    cell = torch.nn.GRU(N * D, N * D, batch_first=True, dtype=torch.float64)
    places = torch.arange(N * D).view(N, D)  # of neuron n's units
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        for n in range(N):
            for gate in range(3):
                rows, own = gate * N * D + places[n], slice(gate * D, (gate + 1) * D)
                cell.weight_ih_l0[rows[:, None], places[n]] = router.own.weight[n, own]
                cell.weight_hh_l0[rows] = router.hear.weight[n, own]
                cell.weight_hh_l0[rows[:, None], places[n]] += memory.heard[n, own]
                cell.bias_ih_l0[rows] = memory.bias[n, own]
            cell.bias_hh_l0[2 * N * D + places[n]] = memory.new_bias[n]
    normed = only.memory_norm(x.unflatten(2, (N, D))).flatten(2)
    y, state = layer(x)
    torch.testing.assert_close(y - x, cell(normed)[0])
    assert set(state) == {(0, "h")}  # what was said is in it


LOCKED = {"kind": "locked", "closed": 0.0, "exact": 0.6}
LOOPS = [
    {},
    {"memory_options": {"expand": 2}},
    {"topology": "ring"},
    {"weights": "shared"},
    {"weights": "communal", "communal_states": 3},
    {"share_rounds": True},
    {
        "population": [
            {"neurons": 2, "memory": "gru"},
            {"neurons": 2, "memory": {"kind": "locked", "closed": 0.0, "exact": 0.6}},
        ]
    },
]


def cases():
    reset, mask = torch.zeros(2, T, dtype=torch.bool), torch.ones(2, T, dtype=torch.bool)
    reset[0, 3] = reset[1, 0] = True
    mask[0, :2] = mask[1, 4] = False
    return [{}, {"reset": reset, "mask": mask}, {"edges": inn.Edges.complete(N).close([(0, 1), (2, 2)])}]


@pytest.mark.parametrize("fields", LOOPS, ids=str)
def test_in_one_loop_and_step_by_step_it_is_the_same_with_all_gradients(fields, monkeypatch):
    layer, x = graph(**fields), inputs().requires_grad_()
    first = State({k: torch.randn_like(v).requires_grad_() for k, v in layer.initial_state(2).items()})

    def run(options):
        y, last = layer(x, first, **options)
        y = y if options.get("mask") is None else y[options["mask"]]
        loss = y.sin().sum() + sum(v.cos().sum() for v in last.values())
        return [y, *last.values(), *torch.autograd.grad(loss, [x, *first.values(), *layer.parameters()])]

    assert all(r.loops and r._fits_the_loop() for r in layer.rounds)
    loops = [run(options) for options in cases()]
    in_steps(monkeypatch)
    for options, ours in zip(cases(), loops, strict=True):
        for a, b in zip(ours, run(options), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


MAMBAS = [
    {},
    {"norm": "rms"},
    {"norm": "none"},
    {"topology": "ring"},
    {"weights": "shared"},
    {"weights": "communal", "communal_states": 3},
    {"share_rounds": True},
    {"residual": "input", "inner": "hourglass"},
    {"state": 3, "conv": 1, "expand": 1, "dt_rank": 2},
]


@pytest.mark.parametrize("fields", MAMBAS, ids=str)
@pytest.mark.parametrize("kind", [torch.float64, torch.float32], ids=str)
def test_mambas_in_one_call_and_step_by_step_are_the_same_with_all_gradients(fields, kind, monkeypatch):
    layer, x = graph(memory="mamba", **fields).to(kind), inputs().to(kind).requires_grad_()
    with torch.no_grad():  # what is heard is weak enough for a rounding error not to grow with the steps
        for only in layer.rounds:
            for p in only.router.hear.parameters():
                p.mul_(0.2)
    start = State({k: torch.randn_like(v).to(kind).requires_grad_() for k, v in layer.initial_state(2).items()})

    def run(options):
        y, last = layer(x, start, **options)
        y = y if options.get("mask") is None else y[options["mask"]]
        loss = y.sin().sum() + sum(v.cos().sum() for v in last.values())
        leaves = [t for t in (x, *start.values(), *layer.parameters()) if t.numel()]
        return [y, *last.values(), *torch.autograd.grad(loss, leaves)]

    assert all(r._fits_mambas(x) for r in layer.rounds)
    calls = [run(options) for options in cases()]
    in_steps(monkeypatch)
    for options, ours in zip(cases(), calls, strict=True):
        for a, b in zip(ours, run(options), strict=True):
            size = max(1.0, b.abs().max().item()) if b.numel() else 1.0
            torch.testing.assert_close(a / size, b / size, rtol=0, atol=1e-10 if kind == torch.float64 else 5e-5)


def test_what_hangs_on_a_memory_is_heard_and_autocast_goes_step_by_step():
    layer, x = graph(memory="mamba", rounds=1).float(), inputs().float()
    (only,) = layer.rounds
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not only._fits_mambas(x)
    assert only._fits_mambas(x)
    calls = []
    with only.memory.register_forward_hook(lambda *_: calls.append(1)):
        layer(x)
    assert len(calls) == T
    assert not graph(memory="mamba", gate="soft").rounds[0]._fits_mambas(x)


def by_hand(layer, x):
    """The formula, neuron state and message one step at a time: what a router hears is what was said before."""
    (only,), neurons = layer.rounds, x.unflatten(2, (N, D))
    state, said, found = only.memory.initial_state(len(x)), x.new_zeros(len(x), 1, N, D), []
    for t in range(x.shape[1]):
        now = neurons[:, t : t + 1]
        if only.router.into_memory:
            given = only.router.own(only.memory_norm(now)) + only.router(only.router_norm(said))[0]
        else:
            now = now + only.router(only.router_norm(said))[0]
            given = only.memory_norm(now)
        said, state = only.memory(given, state)[:2]
        found.append(now + said)
    return torch.cat(found, 1).flatten(2), said[:, 0]


@pytest.mark.parametrize("router", ["dendrites", "static", "bus", "workspace"])
def test_what_is_heard_is_of_the_step_before(router):
    layer, x = graph(router=router, rounds=1, memory="mamba"), inputs()
    y, state = layer(x)
    expected, said = by_hand(layer, x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state[0, SAID], said)


FORMS = [
    {},
    {"gate": "soft", "gate_penalty": 1.0},
    {"memory": "mamba", "state": 3},
    {"router": "attention", "heads": 2},
    {"router": "workspace", "workspace_width": 8},
    {"router": "workspace", "workspace_width": 8, "topology": "ring"},
    {"population": [{"neurons": 1, "memory": "mamba"}, {"neurons": 3, "memory": "gru"}]},
]


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_split_reset_mask_and_steps_in_place(fields):
    layer, x = graph(**fields), inputs()
    (_, reset_mask, _), (y, last) = cases(), layer(x)
    one, state = layer(x[:, :3])
    two, state = layer(x[:, 3:], state)
    torch.testing.assert_close(torch.cat((one, two), 1), y)
    torch.testing.assert_close(dict(state), dict(last))
    state = layer.initial_state(2).to(torch.float64)
    with torch.no_grad():
        for t in range(T):
            step = layer.readout(layer.run_(layer.distribute(x[:, t : t + 1]), state))
            torch.testing.assert_close(step, y[:, t : t + 1])
    torch.testing.assert_close(dict(state), dict(last))
    reset, mask = reset_mask["reset"], reset_mask["mask"]
    torch.testing.assert_close(layer(x, reset=reset)[0][0, 3:], layer(x[:1, 3:])[0][0])
    y, last = layer(x, mask=mask)
    shorter, bar = layer(x[:1, 2:])
    torch.testing.assert_close(y[:1, 2:], shorter)
    torch.testing.assert_close({k: v[:1] for k, v in last.items()}, dict(bar))


@pytest.mark.parametrize("fields", [*FORMS, {"memory_options": {"expand": 2}}], ids=str)
def test_who_is_absent_is_not_heard_and_stays_as_it_was(fields):
    layer, x = graph(rounds=1, **fields), inputs()
    there = torch.ones(2, T, N, dtype=torch.bool)
    torch.testing.assert_close(layer(x, present=there)[0], layer(x)[0])
    there[:, 3:5, 1] = False
    before = layer(x[:, :3])[1]
    mid = layer(x[:, 3:5], before, present=there[:, 3:5])[1]
    for key, t in mid.items():
        place = mid.neuron(key, 1)
        if place is not None:
            torch.testing.assert_close(t[:, place], before[key][:, place])
    y, _ = layer(x, present=there)
    louder = State({k: t.clone() for k, t in before.items()})
    for key, t in louder.items():
        if (place := louder.neuron(key, 1)) is not None:
            t[:, place] += 1
    again, _ = layer(x[:, 3:5], louder, present=there[:, 3:5])
    torch.testing.assert_close(again, y[:, 3:5])


def test_the_tape_sees_what_was_heard_and_changes_nothing():
    layer, x = graph(rounds=1), inputs()
    with inn.record(layer, "routing", "activity", "state") as tape:
        y, _ = layer(x)
    torch.testing.assert_close(y, layer(x)[0])
    only, said = layer.rounds[0], torch.cat((torch.zeros(2, 1, N * D), (y - x)[:, :-1]), 1).unflatten(2, (N, D))
    for i in range(N):
        for j in range(N):
            size = (said[:, :, j] @ only.router.hear.weight[i, :, j * D : (j + 1) * D].T).square().sum(-1).mean().sqrt()
            torch.testing.assert_close(tape.mean("routing")[0, 0, i, j], size)
    torch.testing.assert_close(
        tape.mean("activity")[0], (y - x).unflatten(2, (N, D)).square().mean(-1).sqrt().mean((0, 1))
    )


def test_a_lesion_is_heard_a_step_later():
    layer, x = graph(rounds=1), inputs()
    with skipped(layer, 0, "communication"):
        deaf = layer(x)[0]
    torch.testing.assert_close(deaf[:, 0], layer(x)[0][:, 0])
    alone = layer(x, edges=inn.Edges.complete(N).close([(i, j) for i in range(N) for j in range(N) if i != j]))[0]
    torch.testing.assert_close(deaf, alone)
    assert not torch.allclose(deaf[:, 1], layer(x)[0][:, 1])


def test_the_price_of_a_gate_is_of_the_steps_that_count():
    layer, x = graph(gate="soft", gate_penalty=1.0, rounds=1).train(), inputs()
    mask = torch.ones(2, T, dtype=torch.bool)
    mask[:, 3:] = False
    short = layer(x[:, :3])[1].penalties["gate"]
    torch.testing.assert_close(layer(x, mask=mask)[1].penalties["gate"], short)
    assert layer(x)[1].penalties["gate"].item() != short.item()


@pytest.mark.parametrize("fields", [{}, {"memory": "mamba"}, {"router": "workspace"}], ids=str)
def test_rounds_that_are_recomputed_have_the_same_gradients(fields):
    layer, x = graph(**fields).train(), inputs(time=4)

    def gradients():
        return torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))

    kept = gradients()
    layer.checkpoint_rounds = True
    for a, b in zip(kept, gradients(), strict=True):
        torch.testing.assert_close(a, b)


def test_alike_neurons_stay_alike_and_collapse():
    torch.manual_seed(0)
    fields = {"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "weights": "shared", "input": "copy", "recall": []}
    for router in ({"router": "attention", "lag": 1}, {"router": "workspace"}):
        model = inn.INN(**fields, **router, readout="mean", memory="gru", heads=2, zero_start=False).eval()
        tokens = torch.arange(20).view(2, 10) % 11
        torch.testing.assert_close(collapse(model)(tokens)[0], model(tokens)[0])


def test_without_a_lag_nothing_is_new():
    assert set(graph(lag=0).initial_state(1)) == {(0, "h"), (1, "h")}
    assert type(graph(lag=0).rounds[0]).__name__ == "Round"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"router": "attention", "lag": 1, "update": "message-norm"}, "no meaning with lag 1"),
        ({"router": "attention", "lag": 1, "update": "parallel"}, "no meaning with lag 1"),
        ({"router": "workspace", "update": "parallel"}, "no meaning with router 'workspace'"),
        ({"router": "workspace", "lag": 1}, "'lag'"),
        ({"router": "none", "lag": 1}, "'lag'"),
        ({"lag": 2}, "lag cannot be '2'"),
    ],
)
def test_what_has_no_meaning_is_refused(fields, sentence):
    with pytest.raises(inn.InputError, match=sentence):
        inn.Graph(neurons=2, width=8, **fields)


def test_flops_count_the_own_input_and_the_messages():
    parts, before = graph().flops(), graph(lag=0).flops()
    assert parts["routing.messages"] == before["routing.messages"]
    assert parts["routing.matrices"] == 2 * 2 * N * D * 3 * D
