"""`inn info` and `inn data`: facts as JSON, without needing the data to be there."""

from __future__ import annotations

import json

import pytest

PUBLISHED = [
    (["text8-paper"], 4_219_163),
    (["text8-small", "--model.preset", "paper"], 4_219_163),
    (["text8-paper", "--model.preset", "paper-fixed"], 4_219_163),
    (["text8-paper", "--model.kind", "mamba-stack", "--model.width", "256"], 2_637_083),
    (["text8-paper", "--model.kind", "mamba-stack-transposed"], 2_637_083),
    (["text8-paper", "--model.kind", "mamba-stack", "--model.width", "320"], 4_064_347),
    (["text8-paper", "--model.kind", "transformer-paper"], 4_745_499),
]


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No corpus on this machine; the tests may not download."""
    monkeypatch.delenv("INN_DATA", raising=False)
    monkeypatch.setenv("INN_CACHE", str(tmp_path))


@pytest.mark.parametrize("argv, parameters", PUBLISHED)
def test_the_published_parameter_counts(inn, nothing_here, argv, parameters):
    result = inn("info", *argv, "--json")
    assert result.code == 0, result
    facts = json.loads(result.out)
    assert facts["parameters"] == parameters
    assert sum(facts["parameters_by_part"].values()) == parameters


@pytest.mark.parametrize("name", ["text8", "text8-small", "text8-last", "text8-graph", "enwik8", "wikitext2", "ptb"])
def test_the_kinds_of_a_recipe_are_of_about_equal_size(inn, nothing_here, name):
    counts = {
        kind: json.loads(inn("info", name, "--model.kind", kind, "--json").out)["parameters"]
        for kind in ("inn", "lstm", "transformer", "transformer-paper", "mamba-stack")
    }
    assert max(counts.values()) <= 1.03 * min(counts.values()), counts
    if name in ("text8-small", "text8-last"):
        assert max(counts.values()) <= 500_000


def test_info_in_words(inn, nothing_here):
    out = inn("info", "text8-paper").out
    for part in ("4,219,163", "FLOPs per symbol", "bytes per stream", "train.schedule", "onecycle"):
        assert part in out


def test_info_takes_the_vocabulary_from_the_data_where_no_one_declares_it(inn):
    facts = json.loads(inn("info", "demo", "--json").out)
    assert facts["settings"]["model"]["vocab"] > 60
    assert facts["state_bytes"] > 0
    assert facts["training_flops_per_symbol"] > 2 * facts["parameters"]


def test_info_of_a_corpus_that_is_not_here_says_how_to_get_it(refused, nothing_here, monkeypatch):
    import requests

    def offline(*_, **__):
        raise requests.ConnectionError("there is no network here")

    monkeypatch.setattr(requests, "get", offline)
    assert "INN_DATA" in refused("info", "text8-paper", "--data.vocabulary", "words")


def test_data_list(inn, nothing_here):
    facts = json.loads(inn("data", "list", "--json").out)
    corpora = {c["name"]: c for c in facts["corpora"]}
    assert set(corpora) == {
        "pydoc", "text8", "text8-69m", "enwik8", "wikitext2", "wikitext2-raw", "ptb", "tinyshakespeare",
    }  # fmt: skip
    assert corpora["text8"]["where"] == "download"
    assert corpora["pydoc"]["where"] == "interpreter"
    assert all(c["licence"] and c["source"] and c["splits"] for c in corpora.values())
    text = inn("data", "list").out
    assert all(name in text for name in corpora)


def test_data_verify_and_get(inn, refused, corpus, nothing_here):
    facts = json.loads(inn("data", "verify", "pydoc", "--json").out)
    assert facts["ok"] is True
    assert len(facts["files"][0]["found"]) == 64
    assert json.loads(inn("data", "get", "pydoc", "--json").out)["bytes"] > 400_000
    facts = json.loads(inn("data", "get", f"file:{corpus}", "--json").out)
    assert facts["bytes"] == corpus.stat().st_size
    assert inn("data", "verify", f"file:{corpus}").code == 0
    assert "inn data get text8" in refused("data", "verify", "text8")


def test_data_verify_tells_of_every_file_in_json_too(inn, tmp_path, monkeypatch):
    (tmp_path / "ptb.train.txt").write_text("not the treebank")
    monkeypatch.setenv("INN_DATA", str(tmp_path))
    monkeypatch.setenv("INN_CACHE", str(tmp_path / "cache"))
    result = inn("data", "verify", "ptb", "--json")
    facts = json.loads(result.out)
    assert result.code == 2
    assert "ptb.train.txt" in result.err
    assert facts["ok"] is False
    assert [f["ok"] for f in facts["files"]] == [False, False, False]


def test_energy_of_a_run(inn, own_run):
    facts = json.loads(inn("info", own_run, "--energy", "--symbols", "50", "--json").out)["energy"]
    assert facts["rate"] is None
    assert facts["picojoules"] == pytest.approx(4.6 * facts["multiply_adds"])
    assert "Horowitz" in facts["assumed"]["source"]
    more = ["--pj-multiply-add", "2", "--pj-byte", "1", "--bits", "16"]
    own = json.loads(inn("info", own_run, "--energy", *more, "--json").out)["energy"]
    assert own["assumed"]["source"] == "options of the command"
    state = 8 * own["state"]
    assert own["picojoules"] == pytest.approx((2 * own["multiply_adds"] + 4 * own["multiply_adds"] + state) / 2)
    assert "nJ per symbol, assuming:" in inn("info", own_run, "--energy").out


def test_energy_is_of_a_trained_run_as_it_is(refused, own_run):
    assert "'demo' is none" in refused("info", "demo", "--energy")
    assert "leave out --model.rounds" in refused("info", own_run, "--energy", "--model.rounds", "2")
    assert "--bits is of --energy" in refused("info", own_run, "--bits", "8")
    assert "--symbols must be at least 1, not 0" in refused("info", own_run, "--energy", "--symbols", "0")
    assert "--pj-add must be at least 0, not -1.0" in refused("info", own_run, "--energy", "--pj-add", "-1")
    assert "unknown spike code 'x'" in refused("info", own_run, "--energy", "--spike-code", "x")


def test_a_diagram(inn, refused, nothing_here):
    words = inn("info", "demo", "--diagram").out
    assert "B T (N D) = · · " in words
    assert all(len(line) <= 80 for line in words.splitlines())
    assert inn("info", "demo", "--diagram", "--form", "mermaid").out.startswith("flowchart TD\n")
    assert json.loads(inn("info", "demo", "--diagram", "--form", "svg", "--json").out)["svg"].startswith("<svg ")
    assert "--form is of --diagram" in refused("info", "demo", "--form", "svg")
    assert "leave out --energy" in refused("info", "demo", "--diagram", "--energy")
