"""Neurons taken out and put in: what is left computes what it did, ids, who trains, what is refused."""

import pytest
import torch

import inn
from inn.surgery.neurons import concentrate, extend, prune
from inn.system.errors import InputError

FIELDS = {"vocab": 7, "neurons": 5, "width": 8, "rounds": 2, "recall": [1, 2], "recall_slots": 64, "recall_width": 4}
TOKENS = torch.arange(36).reshape(2, 18) ** 2 % 7


def model(**fields):
    torch.manual_seed(0)
    made = inn.INN(**{**FIELDS, "router": "mixture", "router_options": {"top": 2}, "readout": "mean", **fields})
    for p in made.parameters():  # what starts at zero speaks, too
        torch.nn.init.normal_(p, std=0.2)
    return made.eval()


@pytest.mark.parametrize("router", ["mixture", "attention", "dendrites"])
@pytest.mark.parametrize("weights", ["shared", "separate"])
def test_those_that_are_left_compute_what_they_do_where_the_others_are_absent(router, weights):
    options = {"top": 2} if router == "mixture" else {"heads": 2} if router == "attention" else {}
    graph = model(router=router, router_options=options, weights=weights, input="copy", identity="embedding").graph
    x, kept = torch.randn(2, 6, 8), [0, 2, 4]
    present = torch.zeros(2, 5, dtype=torch.bool)
    present[:, kept] = True
    small = prune(graph, [1, 3])
    assert small.ids.tolist() == kept
    torch.testing.assert_close(small(x)[0], graph(x, present=present)[0])
    state = graph(x, present=present)[1].select_neurons(kept)
    torch.testing.assert_close(small(x, state)[0], graph(x, graph(x, present=present)[1], present=present)[0])


def test_a_model_keeps_its_embedding_its_contexts_and_its_head():
    whole = model(readout="concat")
    small = prune(whole, [0, 3])
    assert small.config.neurons == 3
    assert small.recall.orders == [whole.recall.orders[n] for n in (1, 2, 4)]
    rows = torch.cat([torch.arange(n * 8, n * 8 + 8) for n in (1, 2, 4)])
    assert torch.equal(small.embedding.weight, whole.embedding.weight[:, rows])
    assert torch.equal(small.graph.round(1).router.addresses, whole.graph.round(1).router.addresses[[1, 2, 4]])
    small(TOKENS)
    assert prune(whole, [0, 1, 2, 3]).graph.round(0).router.top == 1


def test_added_neurons_leave_the_others_as_they_were_and_train_alone():
    whole = model(input="copy")
    larger = extend(prune(whole, [4]), 2).train()
    assert larger.graph.ids.tolist() == [0, 1, 2, 3, 4, 5]
    back = prune(larger.eval(), [4, 5])
    torch.testing.assert_close(back(TOKENS)[0], prune(whole, [4])(TOKENS)[0])
    before = {name: p.detach().clone() for name, p in larger.named_parameters()}
    optimizer = torch.optim.Adam((p for p in larger.parameters() if p.requires_grad), 1e-2)
    larger.train()(TOKENS)[0].square().sum().backward()
    optimizer.step()
    moved = {name for name, p in larger.named_parameters() if not torch.equal(p, before[name])}
    old = prune(larger, [4, 5])
    asked = ("router.ask", "router.addresses")
    for name, p in old.named_parameters():
        if not any(a in name for a in asked):
            assert torch.equal(p, back.get_parameter(name)), name
    assert {"backbone.rounds.0.router.value.weight", "backbone.rounds.0.router.ask.weight"} <= moved
    assert all(p.requires_grad for p in extend(whole, 1, freeze=False).parameters())


def test_choices_are_concentrated():
    torch.manual_seed(0)
    whole = model()
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
    for call, sentence in (
        (lambda: prune(model(), [5]), "no neuron 5 to remove; there are neurons 0 to 4"),
        (lambda: prune(model(), range(5)), "not all neurons"),
        (lambda: extend(model(), 0), "at least 1"),
        (lambda: prune(model(topology="ring"), [1]), "topology 'ring' says who hears whom"),
        (lambda: prune(model(neurons=5, population=[{"neurons": 2}, {"neurons": 3}]), [1]), "mixed population"),
        (lambda: prune(torch.nn.Linear(2, 2), [1]), "not of a Linear"),
        (lambda: concentrate(model(router="attention", router_options={"heads": 2})), "no router 'mixture'"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
