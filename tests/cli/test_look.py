"""`inn look` writes a page, whole or not at all, and says in a sentence what it cannot look at."""

from __future__ import annotations

import json
import re
import shutil
import webbrowser
from pathlib import Path

import pytest

from inn.cli.display import write_look
from inn.explorer import look
from inn.export.web import page
from inn.system.errors import InputError


@pytest.fixture
def quick(monkeypatch):
    """Without the survey, which takes seconds."""
    monkeypatch.setattr(look, "survey_of", lambda *_: None)


def runs_of(path: Path) -> list[dict]:
    page = path.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])[
        "runs"
    ]


def test_a_page_of_a_run(inn, own_run, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    result = inn("look", own_run, "--open")
    assert result.code == 0, result
    written = own_run / "page.html"
    assert opened == [written.absolute().as_uri()]
    assert f"wrote {written}" in result.out
    assert f"inn play {own_run}" in result.out
    (run,) = runs_of(written)
    assert run["name"] == own_run.name
    assert run["play"] == f"inn play {own_run}"
    assert run["passage"]["neurons"] == 2
    assert run["passage"]["before"] + run["passage"]["symbols"] > 500
    assert run["history"]["train"]
    assert run["history"]["samples"]
    assert run["facts"]["model.router.kind"] == "dendrites"
    assert not list(own_run.glob(".*.tmp"))


def test_a_text_of_ones_own(inn, quick, trained, tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "new" / "look.html"
    text.write_text("every neuron speaks to the graph")
    result = inn("look", trained, "--text", text, "--out", out)
    assert result.code == 0, result
    (run,) = runs_of(out)
    assert "".join(run["passage"]["text"]) == "every neuron speaks to the graph"
    assert run["passage"]["title"] == "text.txt"
    assert run["passage"]["before"] == 0
    assert run["survey"] is None


def test_a_huge_text_is_read_at_its_beginning(inn, quick, trained, tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "look.html"
    with text.open("wb") as file:
        file.write(b"neuron " * 100)
        file.truncate(5_000_000_000)  # zeros, which the run does not know, on no disk space
    result = inn("look", trained, "--text", text, "--out", out, "--symbols", 70)
    assert result.code == 0, result
    assert "read 70 characters: the beginning of text.txt" in result.out
    assert "".join(runs_of(out)[0]["passage"]["text"]) == "neuron " * 10


def test_two_runs_side_by_side(inn, quick, own_run, tmp_path):
    other = Path(shutil.copytree(own_run, tmp_path / "another" / own_run.name))
    result = inn("look", own_run, other)
    assert result.code == 0, result
    runs = runs_of(own_run / f"page-beside-{other.name}.html")
    assert [run["name"] for run in runs] == [str(own_run), str(other)]  # their folders have the same name


def test_runs_of_other_symbols_are_not_compared(inn, refused, quick, own_run, small, tmp_path):
    text, other = tmp_path / "other.txt", tmp_path / "other"
    text.write_text("0123456789 " * 500)
    assert inn("train", "demo", "--run", other, "--data.corpus", f"file:{text}", *small).code == 0
    sentence = refused("look", own_run, other)
    assert sentence.startswith(f"runs '{own_run}' and '{other}' read different symbols")
    assert not list(own_run.glob("*.html"))


def test_a_survey_that_cannot_be_made_is_left_out(inn, own_run, monkeypatch):
    from inn.system.errors import InputError

    def survey(*_, **__):
        raise InputError("the text is too short")

    monkeypatch.setattr(look, "survey", survey)
    result = inn("look", own_run)
    assert result.code == 0
    assert result.err == "inn: the page has no survey of the neurons: the text is too short\n"
    assert runs_of(own_run / "page.html")[0]["survey"] is None


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "has 0 symbols that the run knows; a passage takes at least 2"),
        (b"a", "has 1 symbols that the run knows"),
        (b"a word of the graph \xf0\x9f\xa7\xa0", "lacks '\U0001f9e0' (U+1F9E0), at position 20"),
        (b"the graph <script>", "lacks '<' (U+003C), at position 10"),
        (b"the \xff graph", "is not UTF-8 text: byte 0xff at offset 4"),
    ],
)
def test_texts_that_cannot_be_looked_at(refused, quick, trained, tmp_path, content, sentence):
    text, out = tmp_path / "text.txt", tmp_path / "look.html"
    text.write_bytes(content)
    assert sentence in refused("look", trained, "--text", text, "--out", out)
    assert not out.exists()


def test_unknown_symbols_may_be_skipped(inn, quick, trained, tmp_path):
    text, out = tmp_path / "text.txt", tmp_path / "look.html"
    text.write_text("the <graph>")
    assert inn("look", trained, "--text", text, "--out", out, "--unknown", "skip").code == 0
    assert "".join(runs_of(out)[0]["passage"]["text"]) == "the graph"


def test_the_model_itself_goes_on_the_page_or_the_page_is_written_without(
    inn, refused, quick, own_run, monkeypatch, tmp_path, capsys
):
    given, out = [], tmp_path / "live.html"
    play = {"neurons": 2, "text": "", "unit": "character", "model": {}}
    monkeypatch.setattr(page, "live_model", lambda model, options: given.append(options) or {"play": play, "model": ""})
    assert inn("look", own_run, "--live", "--out", out).code == 0
    (run,) = runs_of(out)
    assert "passage" not in run
    assert "play" not in run  # the command that opens a page to type into: this is one
    assert len(given[0].text) > 100
    assert "wasm-unsafe-eval" in out.read_text("utf-8")

    def refuse(model, options):
        raise InputError("it has a part of its own")

    monkeypatch.setattr(page, "live_model", refuse)
    assert refused("look", own_run, "--live", "--out", tmp_path / "none.html") == "it has a part of its own"
    assert not (tmp_path / "none.html").exists()
    assert "leave RUN2 out" in refused("look", own_run, own_run, "--live")
    write_look(str(own_run), None, tmp_path / "plain.html", "inn demo", live=True, plainly=True)
    assert "reads no text of yours: it has a part of its own" in capsys.readouterr().err
    assert runs_of(tmp_path / "plain.html")[0]["passage"]["neurons"] == 2


def test_mistakes_on_the_command_line(refused, quick, trained, tmp_path):
    assert refused("look").startswith("RUN is missing")
    assert refused("look", "nowhere").startswith("'nowhere' is not a run")
    assert refused("look", trained, "--symbols", 1) == "--symbols must be at least 2, not 1"
    assert refused("look", trained, "--unknown", "skpi").startswith("--unknown cannot be 'skpi'; did you mean 'skip'?")
    assert "there is no such file" in refused("look", trained, "--text", tmp_path / "no.txt")
    assert "Is a directory" in refused("look", trained, "--text", tmp_path)
    assert refused("look", trained, "--out", tmp_path).startswith(f"--out '{tmp_path}' is a folder")
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("look", trained, "--out", tmp_path / "file" / "look.html")
    assert not (trained / "page.html").exists()


def test_a_run_without_neurons(inn, refused, quick, corpus, small, tmp_path):
    run = tmp_path / "lstm"
    few = ["--data.window", "32", "--train.symbols", "512", "--device", "cpu"]
    assert inn("train", "demo", "--run", run, "--model.kind", "lstm", "--data.corpus", f"file:{corpus}", *few).code == 0
    assert refused("look", run).startswith(f"run '{run}' is of kind 'lstm', which has no neurons to look at")
