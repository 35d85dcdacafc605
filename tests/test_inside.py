"""docs/inside.md keeps its word: its tables are those of the results, and what it says of them is so."""

from __future__ import annotations

import json
import math
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "inside.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "inside.py"))
RESULT = SCRIPT["read"]()
VALID = RESULT["surveys"]["valid"]


def test_the_tables_are_those_of_the_results():
    marked = re.findall(r"<!-- table: inside-(\S+) -->", PAGE)
    assert sorted(marked) == sorted(SCRIPT["tables"](RESULT))
    assert SCRIPT["with_tables"](PAGE, RESULT) == PAGE


def test_a_changed_number_is_noticed():
    changed = json.loads(json.dumps(RESULT))
    changed["capitals"]["test"]["neurons"][1]["bits"] = 0.5
    assert SCRIPT["with_tables"](PAGE, changed) != PAGE


@pytest.mark.parametrize("split", SCRIPT["SPLITS"])
def test_two_ways_to_the_same_number(split):
    """The script reads log-probabilities, the survey bits of the symbols that came."""
    cards = RESULT["surveys"][split]["cards"]
    for own, card in zip(RESULT["capitals"][split]["neurons"], cards, strict=True):
        assert own["bits"] == pytest.approx(card["lesion"]["by_class"]["upper case"], abs=1e-4)
        assert own["that"] + own["which"] == pytest.approx(own["bits"], abs=1e-4)


def test_there_is_no_hub_and_no_community():
    assert not VALID["hubs"]
    assert not VALID["specialists"]
    spread, untrained = VALID["roles"]["hubs"], VALID["control"]["untrained"]
    assert spread["p"] < 0.01
    assert untrained["received_spread"] < spread["mean"] < 0.2 * spread["observed"]
    assert max(VALID["received"]) == VALID["received"][7] < 1.2
    assert VALID["communities"]["modularity"] < VALID["communities"]["null"]["mean"]
    assert len(VALID["communities"]["groups"]) == 2
    shares = [share for r in VALID["connectivity"] for row in r for share in row]
    assert 0.105 < min(shares) < max(shares) < 0.155
    assert all(edge["bits"] < 0.02 for edge in VALID["edges"])
    assert VALID["rounds_lesioned"][0]["what"] == "communication"
    assert VALID["rounds_lesioned"][0]["bits"] == pytest.approx(3.0, abs=0.2)


def test_neuron_1_is_the_one_for_capitals():
    one = VALID["cards"][1]
    by_class = [c["lesion"]["by_class"][name] for c in VALID["cards"] for name in SCRIPT["CLASSES"]]
    assert len(VALID["cards"]) * len(VALID["classes"]) == 104
    assert sorted(by_class)[-2:] == [one["lesion"]["by_class"]["quote"], one["lesion"]["by_class"]["upper case"]]
    whole = [card["lesion"]["bits"] for card in VALID["cards"]]
    assert max(whole) < 1.5 * min(whole)
    for split, found in RESULT["capitals"].items():
        neurons = found["neurons"]
        mine, others = neurons[1], [of for n, of in enumerate(neurons) if n != 1]
        assert mine["low"] > max(of["high"] for of in others), split
        assert found["null"]["p"] < 0.0011
        assert found["null"]["high"] < mine["low"]
        assert max(abs(of["untrained"]) for of in neurons) < 0.1
        assert mine["mean_replaced"] > mine["bits"]
        assert mine["mean_replaced"] > 1.5 * max(of["mean_replaced"] for of in others)
        assert {n for n, of in enumerate(neurons) if of["bits"] > 0.6} == {1, 4, 7}
        share = RESULT["surveys"][split]["classes"]["upper case"]
        assert share == pytest.approx(1 / 80, rel=0.1)
        assert share * mine["bits"] < 0.15 * RESULT["surveys"][split]["cards"][1]["lesion"]["bits"]


def test_it_says_that_a_capital_comes_and_says_so_itself():
    neurons = RESULT["capitals"]["test"]["neurons"]
    mine, others = neurons[1], [of for n, of in enumerate(neurons) if n != 1]
    assert mine["that"] == pytest.approx(1.0, abs=0.2)
    assert mine["that"] > 1.5 * max(of["that"] for of in others)
    assert mine["which"] < max(of["which"] for of in others)
    assert mine["unheard"] < 0.2 * mine["bits"]
    assert neurons[7]["unheard"] > 0.9 * neurons[7]["bits"]


def test_activity_would_not_have_found_it():
    told = [card["information"] for card in VALID["cards"]]
    assert told[1]["upper case"]["bits"] < 0.002
    assert max(told[1], key=lambda name: told[1][name]["bits"]) == "punctuation"
    assert max(of["punctuation"]["bits"] for of in told) > told[1]["punctuation"]["bits"]
    assert VALID["received"][1] < 1.0


def test_the_example_is_one():
    whole, *without = RESULT["example"]
    assert whole > 0.5
    assert min(without) == without[1] < 0.3 * whole
    assert SCRIPT["EXAMPLE"].replace("\n", "\\n") in PAGE


ADDING = RESULT["adding"]["result"]
NET, GRAPH = ADDING["net"], ADDING["graph"]
CLEAN, NOISY, DECAYED = NET


def test_two_layers_are_waves_whose_phases_fit():
    for of in NET[CLEAN]:
        assert of["test"] > 0.99
        assert of["single"] > 0.98 > 0.02 > of["begun"]
        assert of["misaligned"] < 0.05
        assert of["turned"] == pytest.approx(math.pi / 2, abs=0.2)
        assert of["used"] == of["possible"]


def test_other_neurons_memorise():
    for of in NET[NOISY]:
        whole, low, half, high = (of["cuts"][name] for name in ("nothing", "the lowest half", "a random half",
                                                                "the highest fifth"))  # fmt: skip
        assert min(whole["taught"], whole["test"]) > 0.9
        assert low["taught"] < 0.15
        assert low["right"] > 0.8
        assert low["test"] > whole["test"]
        assert high["taught"] > 0.9 > 0.3 > high["test"]
        assert max(half["taught"], half["test"]) < 0.8
    assert all(of["cuts"]["nothing"]["taught"] < 0.1 for of in NET[DECAYED])


def test_a_graph_adds_by_few_frequencies_though_no_number_is_a_wave():
    for of in GRAPH[CLEAN]:
        for what in ("weights", "answers"):
            assert of[what]["single"] < 0.02
            assert of[what]["ipr"] > 2.5 * of["untrained"][what]["ipr"]
        left = of["left"]["answers"]
        assert left["keys"] < 10
        assert left["only"] > 0.99 > 0.1 > max(left["others"], left["without"])


def test_a_graph_with_wrong_labels_memorises_and_is_not_healed_by_a_cut():
    for of in GRAPH[NOISY]:
        assert of["cuts"]["weights"]["nothing"]["taught"] > 0.75
        assert max(cut["test"] for cuts in of["cuts"].values() for cut in cuts.values()) < 0.3
