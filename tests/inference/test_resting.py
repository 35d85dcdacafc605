"""Who took part, and what a step costs then."""

import pytest
import torch

from inn.inference.resting import spent, taking_part, watched
from inn.models.inn import INN
from inn.nn.graph import Graph
from inn.system.errors import InputError

SMALL = {"vocab": 11, "neurons": 4, "width": 8, "rounds": 2}
TOKENS = torch.randint(11, (3, 20), generator=torch.Generator().manual_seed(0))


def model(**fields):
    torch.manual_seed(0)
    return INN(**{**SMALL, **fields})


@pytest.mark.parametrize("gate, router", [("soft", "attention"), ("hard", "dendrites"), ("active", "dendrites")])
def test_a_gate_is_counted(gate, router):
    found, bar = (Graph(neurons=4, width=8, rounds=2, router=router, gate=g).flops() for g in (gate, "none"))
    assert found == {**bar, "gate": 2 * 2 * 4 * 8}


def test_what_rests_is_left_out():
    graph, gate = model(gate="active").graph, 2 * 2 * 4 * 8
    whole = sum(graph.flops().values()) - gate
    assert sum(graph.flops(0.25).values()) == gate + whole / 4
    assert sum(graph.flops([0.0, 1.0]).values()) == gate + whole / 2


def test_a_router_that_reads_all_neurons_costs_what_it_did():
    graph = model(gate="active", router="static").graph
    parts, half = graph.flops(), graph.flops(0.5)
    assert {name: half[name] / n for name, n in parts.items()} == {
        name: 0.5 if name.startswith("memory") else 1.0 for name in parts
    }
    fed_back = model(gate="active", router="attention", router_options={"lag": 1}).graph
    assert fed_back.flops(0.5) == fed_back.flops()


@pytest.mark.parametrize("density", [1.5, [0.5], [0.5, -0.1]])
def test_no_such_share(density):
    with pytest.raises(InputError, match="density must be from 0 to 1, one share, or one for each of 2 rounds"):
        model().graph.flops(density)


def test_what_a_model_spends():
    made = model(gate="active")
    with torch.no_grad():
        for r, share in enumerate((0.25, 0.5)):
            gate = made.graph.rounds[r].gate
            gate.weight.zero_()
            gate.bias.copy_(torch.where(torch.arange(4) < 4 * share, 1.0, -1.0))
    shares = taking_part(made, TOKENS)
    assert shares == {"rounds.0.gate": 0.25, "rounds.1.gate": 0.5}
    rest = sum(made.flops().values()) - sum(made.graph.flops().values())
    assert sum(spent(made, shares).values()) == rest + sum(made.graph.flops([0.25, 0.5]).values())


def test_addresses_are_counted_for_all_rounds():
    made = model(gate="address", router="none")
    shares = taking_part(made, TOKENS)
    assert shares == {"gate": 0.25}
    assert spent(made, shares)["memory.matrices"] == made.flops()["memory.matrices"] / 4
    known = model(gate="address", gate_options={"table": [0] * 10 + [1]}, router="none")
    assert taking_part(known, TOKENS) == {"gate": 0.25}


def test_padding_does_not_count():
    made = model(gate="active")
    with torch.no_grad():
        for module in made.graph.rounds:
            module.gate.bias.zero_()
    mask = torch.zeros(3, 20, dtype=torch.bool)
    mask[:, :5] = True
    with watched(made.eval()) as shares, torch.no_grad():
        made(TOKENS, mask=mask)
    assert shares == taking_part(made, TOKENS[:, :5]) != taking_part(made, TOKENS)


def test_nothing_rests():
    assert taking_part(model(), TOKENS) == {}
    assert spent(model(), {}) == model().flops()
