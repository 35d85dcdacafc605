"""Planted structure is found, and what a survey says is whole, plain, and the same twice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import inn
from inn.analysis.measures.communities import communities
from inn.analysis.observe import observe
from inn.analysis.overview import _communities, survey
from inn.analysis.recording.stretches import stretches
from inn.data.dataset import Dataset
from inn.data.vocabulary import Bytes
from inn.system.errors import InputError

KEYS = {
    "run", "corpus", "split", "symbols", "bits", "metric", "parameters", "neurons", "rounds", "router", "routed",
    "mass",
    "effective_neurons", "activity", "connectivity", "received", "hubs", "specialists", "degree", "change", "roles",
    "communities", "classes", "cards", "edges", "rounds_lesioned", "control",
}  # fmt: skip
CARD = {
    "neuron", "name", "information", "contexts", "timescale", "lens", "hears", "heard_by", "recall", "lesion",
    "importance", "importance_error",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(planted):
    return survey(planted.model, planted.dataset, symbols=4096)


def test_the_hub_is_found(planted, found):
    assert found["hubs"] == [planted.hub]
    assert found["received"] == pytest.approx([2.8, 0.4, 0.4, 0.4], rel=1e-5)
    assert set(found["specialists"]) == {0, 1, 2, 3} - {planted.hub}
    assert found["roles"]["hubs"]["p"] < 0.01
    assert found["roles"]["hubs"]["observed"] > 2 * found["roles"]["hubs"]["high"] > 0
    for card in found["cards"]:
        if card["neuron"] != planted.hub:
            assert card["hears"][0] == [planted.hub, pytest.approx(0.7)]
    assert found["connectivity"][0][2] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert found["degree"]["out"][0] == [4, 0, 0, 0]
    assert found["degree"]["in"][0] == [1, 1, 1, 1]
    assert found["change"] == []


def test_the_dead_neuron_is_found(planted, found):
    dead = found["cards"][planted.dead]
    assert found["activity"]["mean"][0][planted.dead] == 0
    assert found["activity"]["variance"][0][planted.dead] == 0
    assert all(of["bits"] == pytest.approx(0, abs=1e-9) for of in dead["information"].values())
    assert dead["lesion"]["bits"] == dead["lesion"]["mean_replaced"] == 0
    assert set(dead["lesion"]["by_class"].values()) == {0.0}
    assert dead["importance"] == pytest.approx(0, abs=1e-6)
    assert dead["lens"]["bits"] == pytest.approx(dead["lens"]["silent"])
    assert dead["timescale"]["half_life"] is None


def test_the_time_constant_is_found(planted, found):
    slow = found["cards"][planted.slow]["timescale"]
    assert slow["half_life"] == pytest.approx(planted.half_life, rel=1e-4)
    assert slow["spectrum"] == pytest.approx([planted.time_constant] * 5, rel=1e-4)
    others = [card["timescale"]["half_life"] for card in found["cards"] if card["neuron"] not in (planted.slow,)]
    assert all(life is None or abs(life - planted.half_life) > 0.5 for life in others)


def test_what_the_vowel_neuron_carries_and_causes(planted, found):
    card = found["cards"][planted.vowel]
    share = found["classes"]["vowel"]
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert card["information"]["vowel"]["bits"] == pytest.approx(entropy, abs=1e-3)  # all there is to know
    assert card["information"]["vowel"]["null"] < 0.01
    assert {context["symbol"] for context in card["contexts"]} <= {"a", "e"}
    assert card["lens"]["top"][0][0] == planted.pushed
    assert card["lens"]["bits"] < card["lens"]["silent"] - 0.2
    assert card["lesion"]["low"] > 0.1
    costs = card["lesion"]["by_class"]
    assert max(costs, key=costs.get) == "consonant"  # the b after its vowel
    assert costs["space"] < 0.1 < costs["consonant"]
    worths = [c["importance"] for c in found["cards"]]
    assert worths[planted.vowel] == max(worths) > 0.1


def test_importance_adds_up_to_the_loss_of_all(planted, found):
    from inn.analysis.lesions.cause import worth_of
    from inn.analysis.overview import FEW
    from inn.analysis.recording.stretches import stretches

    worth = worth_of(planted.model, stretches(planted.dataset.valid, 4096).some(FEW))
    whole = worth(frozenset(range(4))) - worth(frozenset())
    assert sum(card["importance"] for card in found["cards"]) == pytest.approx(whole, abs=1e-9)


def test_it_is_plain_whole_and_the_same_again(planted, found):
    assert set(found) == KEYS
    assert all(set(card) == CARD for card in found["cards"])
    assert json.loads(json.dumps(found)) == found
    assert survey(planted.model, planted.dataset, symbols=4096) == found
    assert found["split"] == "valid"
    assert 3000 < found["symbols"] <= 4096
    assert found["mass"] is None
    assert sum(found["classes"][name] for name in ("vowel", "consonant", "space", "punctuation")) == pytest.approx(1)


def test_shuffled_text_tells_nothing(planted):
    """The control of every card's information: an activity that has nothing to do with the text stays at its null."""
    from inn.analysis.measures.information import information

    generator = torch.Generator().manual_seed(0)
    labels = {"vowel": np.random.default_rng(0).random(4096) < 0.3}
    of = information(torch.rand(4096, 40, generator=generator), labels)["vowel"]
    assert float((of.bits > of.null).double().mean()) <= 0.2
    assert of.bits.mean().abs() < 3e-4


@pytest.mark.parametrize(
    "fields",
    [
        {"neurons": 1, "width": 8, "router": "none", "recall": []},
        {"neurons": 2, "width": 8, "router": "none", "recall": [2, 3, 4], "slots": 64},
        {"neurons": 3, "width": 8, "heads": 2, "router": "attention", "gate": "soft", "readout": "attention",
         "input": "copy", "recall": []},
        {"neurons": 3, "width": 8, "router": "bus", "share_rounds": True, "readout": "mean", "input": "copy",
         "recall": [2], "slots": 64},
        {"neurons": 2, "width": 8, "recall": {"kind": "counts", "contexts": [2, 3], "slots": 64}, "gate": "hard"},
    ],
)  # fmt: skip
def test_every_kind_of_graph(fields):
    torch.manual_seed(0)
    model = inn.INN(vocab=256, rounds=2, **fields)
    text = np.frombuffer(b"a <script>alert(1)</script> \xff in 2 lines\n" * 12, np.uint8)
    found = survey(model, Dataset("own", text, text, text, Bytes(), "0"), symbols=256)
    assert set(found) == KEYS
    json.dumps(found)
    none = fields["router"] == "none" if "router" in fields else False
    assert (found["connectivity"] is None) == (found["roles"] is None) == none
    assert (found["cards"][0]["recall"] is None) == (not fields["recall"])
    if fields["recall"]:
        lengths = [length for card in found["cards"] for length in card["recall"]["length"]]
        counts = isinstance(fields["recall"], dict)
        assert set(lengths) == set(fields["recall"]["contexts"] if counts else fields["recall"])
        assert all(card["recall"]["votes"] is counts for card in found["cards"])
    assert {of["what"] for of in found["rounds_lesioned"]} == ({"round"} if none else {"round", "communication"})
    assert len(found["edges"]) == (0 if none else fields["neurons"] * (fields["neurons"] - 1))
    assert found["mass"] == (1.0 if fields.get("router") == "attention" else None)
    assert model.training  # left as it was
    assert model.graph.tape is None


def test_mistakes(planted):
    lstm = inn.build_model(inn.model_config("lstm", vocab=6, width=8, layers=1))
    with pytest.raises(InputError, match="kind 'lstm' has no neurons to look into"):
        survey(lstm, planted.dataset)
    with pytest.raises(InputError, match="text of 200 symbols is too short"):
        survey(planted.model, planted.dataset, split="test")
    with pytest.raises(InputError, match="did you mean 'valid'"):
        survey(planted.model, planted.dataset, split="valdi")


def test_each_card_is_of_its_own_neuron():
    from contextlib import nullcontext

    from inn.analysis.lesions.cause import bits_under
    from inn.analysis.lesions.lesion import forgetful, silenced
    from inn.analysis.recording.stretches import stretches

    torch.manual_seed(0)
    model = inn.INN(vocab=256, neurons=3, width=8, rounds=1, recall=[1, 2, 3], slots=64)
    text = np.frombuffer(b"what came before comes again, " * 20, np.uint8)
    cards = survey(model, Dataset("own", text, text, text, Bytes(), "0"), symbols=400)["cards"]
    lesions = [nullcontext, *(lambda n=n, f=f: f(model, [n]) for f in (silenced, forgetful) for n in range(3))]
    bits = bits_under(model, stretches(text, 400), lesions).double().mean((1, 2))
    by_hand = (bits[1:] - bits[0]).tolist()
    assert [card["lesion"]["bits"] for card in cards] == pytest.approx(by_hand[:3], abs=1e-6)
    assert [card["recall"]["bits"] for card in cards] == pytest.approx(by_hand[3:], abs=1e-6)
    assert len({round(value, 9) for value in by_hand}) == 6


def test_two_communities_are_found(planted):
    torch.manual_seed(0)
    size = planted.dataset.vocabulary.size
    model = inn.INN(vocab=size, neurons=10, width=8, rounds=1, recall=[]).eval()
    group = torch.arange(10) % 2
    with torch.no_grad():
        matrices = model.graph.round(0).router.hear.weight.unflatten(2, (10, 8))  # [to, inputs, from, width]
        matrices *= torch.where(group[:, None] == group, 1.0, 0.05)[:, None, :, None]
    found = survey(model, planted.dataset, symbols=1024)["communities"]
    assert sorted(map(sorted, found["groups"])) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert found["modularity"] > found["null"]["high"]
    assert found["null"]["p"] < 0.01


def test_chance_in_a_sparse_graph_keeps_how_many_each_neuron_hears():
    options = {"density": 0.2}
    model = inn.INN(vocab=5, neurons=20, width=4, rounds=1, recall=[], topology="rewired", topology_options=options)
    seen = observe(model.eval(), stretches(np.arange(1200) % 5, 600))
    random = _communities(model, seen, 0)
    assert random["null"]["p"] > 0.05
    dense = communities(seen.heard, draws=100)["null"]  # all weights dealt out: others hear as few as it happens
    assert random["null"]["mean"] < dense["mean"]
