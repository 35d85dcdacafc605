"""What commands do can be called: from a run or its path, silently."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inn.analysis.runs import survey_run
from inn.explorer.look import look
from inn.explorer.play import serve
from inn.inference.coding.files import compress_file, decompress_file
from inn.inference.held_out import evaluate_run
from inn.runs.directory import Run
from inn.runs.load import load, load_data, load_with_data
from inn.system.errors import InputError


def test_a_run_is_given_as_itself_or_by_its_path(trained):
    model, dataset = load_with_data(Run(trained))
    assert model.vocabulary == dataset.vocabulary == load(Run(trained)).vocabulary
    assert np.array_equal(load_data(trained).split("test"), dataset.split("test"))
    assert evaluate_run(Run(trained), limit=100) == evaluate_run(str(trained), limit=100)


def test_a_run_is_scored_as_the_command_scores_it(inn, trained, capsys):
    told: list[tuple[str, int, int]] = []
    facts = evaluate_run(trained, "valid", window=50, report=lambda *at: told.append(at))
    assert told[-1] == ("scoring", facts["count"], facts["count"])
    assert capsys.readouterr() == ("", "")
    assert json.loads(inn("eval", trained, "--window", 50, "--json").out) == json.loads(json.dumps(facts))
    with pytest.raises(InputError, match="leave one of them out"):
        evaluate_run(trained, window=50, streams=2)


def test_a_page_says_where_it_is_and_what_it_lacks(trained, tmp_path, capsys):
    said: list[str] = []
    out = tmp_path / "page.html"
    assert look(Run(trained), symbols=50, out=out, warn=said.append) == out
    assert out.read_text("utf-8").startswith("<!doctype html>")
    assert capsys.readouterr() == ("", "")


def test_a_survey_of_a_run_on_another_text(trained, tmp_path):
    with pytest.raises(InputError, match="part of a corpus"):
        survey_run(trained, "rest")
    text = tmp_path / "text.txt"
    text.write_text("the graph of neurons " * 40)
    facts = survey_run(Run(trained), corpus=f"file:{text}", unknown="skip", symbols=256)
    assert (facts["run"], facts["split"], facts["corpus"]) == (str(trained), "whole", f"file:{text}")


@pytest.mark.loopback
def test_a_server_of_a_run(trained):
    with serve(Run(trained), text="the graph") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert {"read", "write"} <= server.questions.keys()


def test_a_text_is_compressed_and_comes_back(trained, tmp_path):
    text, packed, back = (tmp_path / name for name in ("text", "packed", "back"))
    text.write_text("the graph")
    assert compress_file(Run(trained), text, packed)["compressed_bytes"] == packed.stat().st_size
    assert decompress_file(trained, packed, back) == 9
    assert back.read_text() == "the graph"
    with pytest.raises(InputError, match="exists already"):
        compress_file(trained, text, packed)
