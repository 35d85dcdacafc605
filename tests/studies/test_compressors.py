"""PPMd and zpaq beside the models: the same training text, the same characters."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inn.cli.main import main
from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.data.streams import Streams, text_read
from inn.inference.floors import COMPRESSORS, compressors, primed_bits
from inn.system.errors import InputError
from inn_studies import compressors as rivals
from inn_studies import open_study, results
from inn_studies.command import parse

HERE = [name for name in rivals.NAMES if name in compressors()]


def case(text, **given):
    data = {"corpus": f"file:{text}", "vocabulary": "characters", "batch": 4, "window": 16}
    return {"data": data, "read": 4 * 16 * 8, "limits": {"valid": 200, "test": None}, **given}


def test_they_read_what_training_reads(text):
    symbols = np.frombuffer(text.read_bytes(), np.uint8)
    for batch, window, steps in ((1, 16, 3), (4, 16, 8), (3, 7, 2)):
        streams = Streams(symbols, batch, window)
        windows = [streams.next().inputs.numpy() for _ in range(steps)]
        read = text_read(symbols, batch, window, "contiguous", batch * window * steps)
        assert np.array_equal(read, np.concatenate(windows, 1).reshape(-1))
    assert len(text_read(symbols, 4, 16, "contiguous", 10**9)) == len(symbols)
    assert np.array_equal(text_read(symbols, 4, 16, "random", 100), symbols[:100])


@pytest.mark.skipif(not HERE, reason="neither pyppmd nor zpaq is installed")
def test_what_the_scored_text_adds_is_counted(lab, text):
    (found,) = rivals.measure(lab, [case(text)])
    dataset = prepare(DataConfig(**case(text)["data"]))
    decode = dataset.vocabulary.decode_bytes
    train = decode(text_read(dataset.train, 4, 16, "contiguous", 512))
    for name in HERE:
        expected = primed_bits(name, train, [decode(dataset.valid[:200]), decode(dataset.test)])
        assert list(found["bits"][name].values()) == pytest.approx(expected, abs=32)  # zpaq keeps a date
        assert found["programs"][name] == compressors()[name]
    assert found["symbols"] == {"valid": 200, "test": len(dataset.test)}
    assert found["data_sha256"] == dataset.sha256
    per_symbol = rivals.bits({"compressors": [found]}, "test")
    per_word = rivals.bits({"compressors": [found]}, "test", per="words")
    assert all(0 < per_symbol[name] < per_word[name] for name in HERE)
    assert rivals.bits({"compressors": [found]}, "test", read=1) == rivals.bits({}, "test") == {}


def text8(scores):
    row = {
        "label": "inn", "lr": 1.0, "parameters": 1, "training_flops_per_symbol": 1.0, "valid_bits": [1.7],
        "test_bits": [1.8], "scored": {"valid": 9, "test": None}, "config": {"data": {"corpus": "text8-69m"}},
        "symbols": 5,
    }  # fmt: skip
    found = {
        **open_study("text8").readings({"rows": [row]})[0],
        "symbols": {"valid": 10, "test": 10},
        "bits": {name: {"valid": 10 * bits, "test": 10 * bits} for name, bits in scores.items()},
    }
    return {"rows": [row], "floors": {"unigram": 4.1}, "compressors": [found]}


def test_they_stand_among_the_models_by_their_score():
    result = text8({"PPMd": 1.9, "zpaq -m5": 1.6})
    assert result["compressors"][0]["limits"] == {"valid": 10}
    lines = [line.split(" | ")[0] for line in open_study("text8").table(result).splitlines()[2:]]
    assert lines == ["| zpaq -m5", "| inn", "| PPMd", "| unigram"]
    del result["compressors"]  # of an earlier version
    assert open_study("text8").table(result).count("\n") == 3


def test_a_sentence_names_them_where_no_row_does():
    said = rivals.note(text8({"PPMd": 1.9}))
    assert "after 5 symbols, on the first 10 of valid: PPMd 1.900" in said
    assert rivals.note({}) == ""


@pytest.mark.parametrize("missing", rivals.NAMES)
def test_floors_wants_both(missing, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    entry = {**dict.fromkeys(results.ENTRY), "scale": "cpu", "result": text8({})}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "text8.json").write_text(json.dumps({"cpu": entry}))
    monkeypatch.setattr(rivals, "compressors", lambda: {name: "" for name in COMPRESSORS if name != missing})
    assert main(["study", "text8", "--floors"]) == 2
    assert f"{missing} cannot be found" in capsys.readouterr().err
    with pytest.raises(InputError, match="--floors trains nothing"):
        parse(["text8", "--floors", "--seeds", "3"])
