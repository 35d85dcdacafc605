"""`inn compress-text` and `inn decompress-text`: there and back, or nothing written."""

from __future__ import annotations

import errno
import json
import os

import pytest


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the graph of neurons listens to each neuron\n" * 5)
    return path


@pytest.mark.parametrize("how", [[], ["--portable", "--streams", 2]], ids=["alike", "portable"])
def test_there_and_back(inn, trained, text, tmp_path, how):
    packed, back = tmp_path / "text.inn", tmp_path / "back.txt"
    facts = json.loads(inn("compress-text", trained, text, packed, "--json", *how).out)
    assert facts["portable"] == bool(how)
    assert facts["compressed_bytes"] == packed.stat().st_size
    assert facts["bytes"] == text.stat().st_size == facts["symbols"]
    assert facts["model_bits_per_symbol"] < facts["bits_per_symbol"]
    assert inn("decompress-text", trained, packed, back).code == 0
    assert back.read_bytes() == text.read_bytes()


def test_what_is_said(inn, trained, text, tmp_path):
    out = inn("compress-text", trained, text, tmp_path / "text.inn", "--streams", 3).out
    assert "220 bytes -> " in out
    assert "(xz: " in out
    assert "bits per character; predicted: " in out
    empty = tmp_path / "empty"
    empty.touch()
    assert "0 bytes -> 55" in inn("compress-text", trained, empty, tmp_path / "empty.inn").out
    assert inn("decompress-text", trained, tmp_path / "empty.inn", tmp_path / "empty2").code == 0
    assert (tmp_path / "empty2").read_bytes() == b""


@pytest.mark.parametrize("damage", ["short", "flipped", "foreign", "empty"])
def test_a_damaged_file_leaves_nothing(inn, refused, trained, text, tmp_path, damage):
    packed, back = tmp_path / "text.inn", tmp_path / "back.txt"
    inn("compress-text", trained, text, packed)
    content = packed.read_bytes()
    changed = {"short": content[:-1], "flipped": content[:-1] + b"~", "foreign": b"hello", "empty": b""}
    packed.write_bytes(changed[damage])
    assert refused("decompress-text", trained, packed, back).startswith(f"{packed} cannot be decompressed: it is ")
    assert not back.exists()


def test_another_run_is_refused(inn, refused, trained, small, corpus, text, tmp_path):
    inn("compress-text", trained, text, tmp_path / "text.inn")
    assert (
        inn("train", "demo", "--run", tmp_path / "other", "--data.corpus", f"file:{corpus}", *small, "--seed", 5).code
        == 0
    )
    sentence = refused("decompress-text", tmp_path / "other", tmp_path / "text.inn", tmp_path / "back.txt")
    assert "with another model" in sentence


def test_mistakes_are_one_sentence_and_nothing_is_overwritten(inn, refused, trained, text, tmp_path):
    packed = tmp_path / "text.inn"
    assert "cannot read nix" in refused("compress-text", trained, "nix", packed)
    assert "'nowhere' is not a run" in refused("compress-text", "nowhere", text, packed)
    assert "--streams must be between" in refused("compress-text", trained, text, packed, "--streams", 0)
    assert "OUT is missing" in refused("compress-text", trained, text)
    assert "OUT is missing" in refused("decompress-text", trained, text)
    (tmp_path / "odd.txt").write_bytes(b"the \xff")
    assert "byte 4 (0xff) would not come back" in refused("compress-text", trained, tmp_path / "odd.txt", packed)
    assert not packed.exists()
    assert f"'{text}' exists already" in refused("compress-text", trained, text, text)
    inn("compress-text", trained, text, packed)
    assert f"'{text}' exists already" in refused("decompress-text", trained, packed, text)


def test_a_full_disk_leaves_nothing(refused, trained, text, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    sentence = refused("compress-text", trained, text, tmp_path / "text.inn")
    assert sentence.startswith("no space left on the device to write")
    assert "choose another place" in sentence
    assert list(tmp_path.iterdir()) == [text]


def test_from_nothing(inn, refused, trained, text, tmp_path):
    """The model of a recipe begins with nothing, learns, and is the same again where the file is opened."""
    packed, back = tmp_path / "text.inn", tmp_path / "back.txt"
    small = ["--model.recall.slots", 64, "--model.recall.contexts", "[1, 2, 3]", "--model.neurons", 2]
    command = ["compress-text", "bytes-counts", text, packed, *small]
    assert "let it learn" in refused(*command)
    assert "none learns portably" in refused(*command, "--portable")
    facts = json.loads(inn(*command, "--learn", "--learn-window", 4, "--streams", 2, "--json").out)
    assert facts["learn"]["window"] == 4
    assert facts["unit"] == "byte"
    assert facts["model_bits_per_symbol"] < 6
    assert inn("decompress-text", "bytes-counts", packed, back, *small).code == 0
    assert back.read_bytes() == text.read_bytes()
    again = tmp_path / "again.txt"
    assert "with another model" in refused("decompress-text", "bytes-counts", packed, again, *small[:-1], 3)
    assert "settings of its own" in refused("compress-text", trained, text, again, *small)
    assert "does not read bytes" in refused("compress-text", "text8-small", text, again, "--learn")
    assert not again.exists()
