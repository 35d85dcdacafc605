"""`inn stability`: models of either kind side by side, the plot, and what is refused."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def text(trained, tmp_path):
    from inn.runs.load import load_with_data

    _, dataset = load_with_data(str(trained))
    (tmp_path / "text").write_text(dataset.vocabulary.decode(dataset.train[:2000]))
    return tmp_path / "text"


SMALL = ["--blocks", "3", "--length", "48"]


def test_a_run_and_its_checkpoints(inn, own_run, text, tmp_path):
    first = sorted((own_run / "checkpoints").glob("step-*"))[0]
    found = json.loads(inn("stability", own_run, first, "--text", text, *SMALL, "--json").out)
    assert list(found) == [str(own_run), str(first)]
    one, other = found.values()
    assert one["blocks"] == other["blocks"] == 3
    assert one["before"] < 1e-4
    assert one["depth"]["growth"] != other["depth"]["growth"]


def test_dense_and_compressed_and_the_plot(inn, own_run, text, tmp_path):
    pytest.importorskip("matplotlib")
    more = ["--calibrate", text, "--rows", "4", "--length", "64"]
    assert inn("compress", own_run, "--out", tmp_path / "small", *more).code == 0
    result = inn("stability", own_run, tmp_path / "small", "--text", text, *SMALL, "--plot", tmp_path / "s.svg")
    assert result.code == 0, result.err
    assert "drive: how far" in result.out
    assert "<svg" in (tmp_path / "s.svg").read_text()


def test_a_decoder(inn, decoder, text, tmp_path):
    more = ["--calibrate", text, "--rows", "4", "--length", "64", "--keep", "0.5"]
    assert inn("compress", decoder / "model", "--out", tmp_path / "small", *more).code == 0
    result = inn("stability", decoder / "model", tmp_path / "small", "--text", text, *SMALL, "--json")
    found = json.loads(result.out)
    assert [one["depths"] for one in found.values()] == [2, 2]
    assert [one["time"] for one in found.values()] == [None, None]


@pytest.mark.parametrize(
    "argv, says",
    [
        ([], "MODEL is missing"),
        (["{run}"], "--text is missing"),
        (["{run}", "{run}", "--text", "{text}"], "given twice"),
        (["{run}", "--text", "{text}", "--blocks", "0"], "--blocks must be at least 1, not 0"),
        (["{run}", "--text", "{text}", "--length", "4000"], "8 blocks of 4000 need 32,000"),
        (["{run}", "--text", "{text}", "--length", "8"], "fewer than 8 symbols"),
        (["{run}", "--text", "/nowhere"], "cannot read /nowhere"),
        (["/nowhere", "--text", "{text}"], "does not exist"),
        (
            ["{run}", "--text", "{text}", "--length", "48", "--plot", "x.docx"],
            "into 'x.docx'; give a name that ends in .png",
        ),
    ],
)
def test_mistakes(refused, own_run, text, argv, says):
    words = [word.format(run=own_run, text=text) for word in argv]
    assert says in refused("stability", *words)
