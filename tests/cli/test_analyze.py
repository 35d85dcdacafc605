"""`inn analyze` through the command line: its own text, another one, and what it cannot look into."""

from __future__ import annotations

import importlib
import json
from functools import partial

import pytest


@pytest.fixture(scope="module")
def facts(inn, trained):
    return json.loads(inn("analyze", trained, "--json").out)


def test_a_run_on_its_own_text(facts, trained, corpus):
    assert facts["run"] == str(trained)
    assert facts["corpus"] == f"file:{corpus}"
    assert (facts["split"], facts["metric"]) == ("valid", "BPC")
    assert (facts["neurons"], facts["rounds"], len(facts["cards"])) == (2, 1, 2)
    text = corpus.read_text()
    for card in facts["cards"]:
        assert card["lesion"]["low"] <= card["lesion"]["bits"] <= card["lesion"]["high"]
        for context in card["contexts"]:
            assert context["before"] + context["symbol"] + context["after"] in text
    assert set(facts["classes"]) == {"vowel", "consonant", "space", "word start", "word inside", "word end"}
    assert facts["classes"]["space"] == pytest.approx(text.count(" ") / len(text), abs=0.03)


def test_the_bits_are_about_those_of_eval(facts, inn, trained):
    scored = json.loads(inn("eval", trained, "--json").out)
    assert facts["bits"] == pytest.approx(scored["bits"], abs=0.1)
    assert facts["parameters"] == scored["parameters"]


def test_the_tables_say_what_json_says(facts, inn, trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = inn("analyze", trained).out
    assert f"{facts['bits']:.3f} bits per symbol over {facts['symbols']:,} symbols" in out
    assert f"{facts['effective_neurons']:.2f} effective neurons" in out
    for card in facts["cards"]:
        lesion = card["lesion"]
        assert f"{lesion['bits']:+.3f} [{lesion['low']:+.3f}, {lesion['high']:+.3f}]" in out
        assert card["contexts"][0]["before"].strip().split()[-1] in out
    for line in ("communication in round 1", "edge 0 → 1", "recall of neuron 0 (contexts of 2, 4, 6, 8)"):
        assert line in out
    assert "\x1b" not in out


@pytest.fixture(scope="module")
def sibling(inn, corpus, small, tmp_path_factory):
    """Another run of the same text."""
    run = tmp_path_factory.mktemp("sibling") / "run"
    inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *small, "--train.seed", "7")
    return run


def test_a_run_beside_itself_and_beside_another(inn, trained, sibling):
    itself = json.loads(inn("analyze", trained, "--symbols", 512, "--beside", trained, "--json").out)["beside"]
    assert itself["order"] == [0, 1]
    assert itself["similarity"] == pytest.approx([1.0, 1.0])
    assert itself["roles"]["received"]["observed"] == pytest.approx(1.0)
    assert max(itself["untrained"]["similarity"]) < 1.0
    other = json.loads(inn("analyze", trained, "--symbols", 512, "--beside", sibling, "--json").out)["beside"]
    assert sorted(other["order"]) == [0, 1]
    assert max(other["similarity"]) < 1.0
    out = inn("analyze", trained, "--symbols", 512, "--beside", sibling).out
    assert f"{other['similarity'][0]:.2f}" in out.split("counterparts in the other run")[1]
    assert "of untrained models" in out


def test_stability(inn, trained):
    found = json.loads(inn("analyze", trained, "--symbols", 512, "--stability", "--json").out)["stability"]
    assert (found["blocks"], found["symbols"], len(found["embedding"])) == (8, 256, 1)
    assert found["before"] < 1e-6
    out = inn("analyze", trained, "--symbols", 512, "--stability").out
    assert "the input, after round 1" in out
    assert f"exponent over time {found['time']['exponents']['mean'][0]:+.4f} per symbol" in " ".join(out.split())


def test_the_part_that_tells_a_bigram(inn, trained, refused, monkeypatch):
    runs = importlib.import_module("inn.analysis.runs")
    monkeypatch.setattr(runs, "subnetwork", partial(runs.subnetwork, steps=3))
    ask = ["analyze", trained, "--symbols", 512, "--subnetwork", "bigram"]
    found = json.loads(inn(*ask, "--json").out)["subnetwork"]
    assert found["kept"] <= 0.05
    assert all(name.endswith("weight") and share <= 1 for name, share in found["by_part"].items())
    out = inn(*ask).out
    assert f"{found['untrained']:.3f}" in out.split("the part that tells a bigram")[1]
    assert f"Bits per symbol {found['whole']:.2f}" in " ".join(out.split())
    assert "bigram" in refused("analyze", trained, "--subnetwork", "bigrams")


def test_what_cannot_be_set_beside(refused, inn, trained, tmp_path, corpus):
    run, text = tmp_path / "lstm", tmp_path / "digits.txt"
    brief = ["--model.width", "8", "--data.batch", "2", "--data.window", "16", "--train.symbols", "64"]
    inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", "--model.kind", "lstm", *brief)
    assert refused("analyze", trained, "--beside", run).startswith(f"run '{run}' has no neurons to set beside")
    text.write_text("0123456789 " * 500)
    brief += ["--model.neurons", "2", "--model.rounds", "1"]
    inn("train", "demo", "--run", tmp_path / "digits", "--data.corpus", f"file:{text}", *brief)
    assert "reads other symbols" in refused("analyze", trained, "--beside", tmp_path / "digits")
    assert "is not a run" in refused("analyze", trained, "--beside", tmp_path / "none")


def test_another_text_is_read_whole(inn, trained, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("every neuron listens to the graph " * 30)
    whole = json.loads(inn("analyze", trained, "--corpus", f"file:{other}", "--json").out)
    assert (whole["corpus"], whole["split"]) == (f"file:{other}", "whole")
    assert 700 < whole["symbols"] < 30 * 34
    part = json.loads(
        inn("analyze", trained, "--corpus", f"file:{other}", "--split", "train", "--symbols", "256", "--json").out
    )
    assert part["split"] == "train"
    assert part["symbols"] <= 256


def test_text_that_is_markup_is_shown_as_it_is(inn, small, tmp_path):
    text = tmp_path / "page.txt"
    text.write_text("<script>alert('[bold]x[/bold]')</script>\t\x1b[31mred\n" * 200)
    run = tmp_path / "run"
    assert inn("train", "demo", "--run", run, "--data.corpus", f"file:{text}", *small).code == 0
    result = inn("analyze", run, "--split", "train", "--symbols", "512")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "\t" not in result.out


def test_the_same_seed_says_the_same(facts, inn, trained):
    assert json.loads(inn("analyze", trained, "--json", "--seed", "0").out) == facts
    other = json.loads(inn("analyze", trained, "--json", "--seed", "1").out)
    assert other["bits"] == facts["bits"]
    assert other["control"] != facts["control"]


@pytest.mark.parametrize("kind, width", [("lstm", ["--model.width", "16"]), ("ngram", [])])
def test_a_run_without_neurons(inn, refused, small, corpus, tmp_path, kind, width):
    common = small[small.index("--data.batch") :]
    options = ["--data.corpus", f"file:{corpus}", "--model.kind", kind, *width, *common]
    assert inn("train", "demo", "--run", tmp_path / "run", *options).code == 0
    sentence = refused("analyze", tmp_path / "run", "--json")
    assert sentence == f"a model of kind '{kind}' has no neurons to look into; give a run of kind 'inn'"


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--split", "tset"], "--split cannot be 'tset'; did you mean 'test'?"),
        (["--symbols", "255"], "--symbols must be at least 256, not 255"),
        (["--symbols", "many"], "--symbols expects a whole number, not 'many'"),
        (["--seed", "-1"], "--seed must be between 0"),
        (["--unknown", "skpi"], "--unknown cannot be 'skpi'; did you mean 'skip'?"),
        (["--corpus", "txt8"], "unknown corpus 'txt8'; did you mean 'text8'?"),
        (["--corpus", "file:/nowhere/at/all"], "there is no file, folder or glob match at '/nowhere/at/all'"),
        (["--device", "gpu"], "device cannot be 'gpu'"),
        (["--lesions", "3"], "unknown option '--lesions'"),
    ],
)
def test_mistakes(refused, trained, options, sentence):
    assert refused("analyze", trained, *options).startswith(sentence)


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("too short", "a text of 9 symbols is too short to look into; it takes at least 256"),
        ("", "is empty"),
        ("the graph Ω " * 100, "'Ω' (U+03A9), at position 10; leave it out, or use --unknown skip"),
        (b"\xff\xfe" * 300, "is not UTF-8 text"),
    ],
)
def test_texts_that_cannot_be_looked_at(refused, trained, tmp_path, content, sentence):
    path = tmp_path / "text.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert sentence in refused("analyze", trained, "--corpus", f"file:{path}")


def test_symbols_that_the_run_does_not_know_can_be_skipped(inn, trained, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the graph Ω of neurons " * 40)
    found = json.loads(inn("analyze", trained, "--corpus", f"file:{path}", "--unknown", "skip", "--json").out)
    assert all("Ω" not in context["before"] for card in found["cards"] for context in card["contexts"])
