"""What a person who plays asks a model, and what comes back."""

from __future__ import annotations

from threading import Event, Thread

import numpy as np
import pytest
import torch

from inn import InputError
from inn.analysis import cut, silenced
from inn.explorer import player as players
from inn.explorer.passage import read_passage
from inn.explorer.player import Player
from inn.explorer.server import Superseded
from inn.nn.modes import evaluating

TEXT = "the cat sat on the mat and "


@pytest.fixture
def model(model_of):
    return model_of(TEXT, recall=[2, 3], slots=64)


@pytest.fixture
def player(model):
    return Player(model)


def asked(serial=0, text=TEXT, **more):
    return {"serial": serial, "text": text, **more}


def passage_of(model, text, cut=()):
    with evaluating(model):
        if not cut:
            return read_passage(model, model.vocabulary.encode(text), title="What you type")
        with silenced(model, cut):
            return read_passage(model, model.vocabulary.encode(text), title="What you type")


def test_it_reads_what_a_passage_reads(player, model):
    answer = player.read(asked())
    assert answer == {"passage": passage_of(model, TEXT), "whole_bits": answer["passage"]["mean_bits"], "said": []}


def test_typing_on_reads_the_new_symbols_only(player, model, monkeypatch):
    read, reading = [], players.Reading.read
    monkeypatch.setattr(players.Reading, "read", lambda self, s: read.append(len(s)) or reading(self, s))
    texts = [TEXT, TEXT + "t", TEXT + "the", TEXT + "th", "at"]
    for serial, text in enumerate(texts):
        found, whole = player.read(asked(serial, text))["passage"], passage_of(model, text)
        assert found["bits"][0] is whole["bits"][0] is None
        assert found["bits"][1:] == pytest.approx(whole["bits"][1:], abs=2e-3)
        assert found["text"] == list(text)
    n = len(TEXT)
    assert read[0::2] == [n, 1, 2, n + 2, 2]  # the odd ones are those of `passage_of`, through the same class


def test_silenced_neurons_say_nothing(player, model):
    answer = player.read(asked(silenced=[2, 0, 2]))
    assert answer["passage"]["bits"] == passage_of(model, TEXT, [0, 2])["bits"]
    assert answer["whole_bits"] == passage_of(model, TEXT)["mean_bits"]
    assert answer["passage"]["mean_bits"] != answer["whole_bits"]


def test_reading_and_writing_start_from_experience(player, model):
    before = player.read(asked())["passage"]["bits"]
    read = torch.from_numpy(model.vocabulary.encode(TEXT * 20).astype(np.int64))
    model.experience = model.after_reading(read)
    assert Player(model).read(asked())["passage"]["bits"] != before


def test_unknown_symbols_are_left_out_and_told(player):
    answer = player.read(asked(text="the <c>at\x00\n"))
    assert "".join(answer["passage"]["text"]) == "the cat"
    assert answer["said"] == ["left out, unknown to the model: \\x00 \\n < >"]
    assert player.read(asked(text="XX"))["passage"] is None
    many = "".join(chr(i) for i in range(0x400, 0x440))
    assert player.read(asked(text="the" + many))["said"][0].endswith("and 44 more")


def test_a_long_text_is_read_from_later_on(player, monkeypatch):
    monkeypatch.setattr(players, "SYMBOLS", 40)
    monkeypatch.setattr(players, "HOP", 10)
    text = TEXT * 3  # 81 symbols
    answer = player.read(asked(text=text))
    assert "".join(answer["passage"]["text"]) == text[50:]
    assert answer["said"] == ["the first 50 symbols are left out: at most 40 are read"]


def test_it_writes_what_generate_writes(player, model):
    expected = "".join(model.generate(TEXT, 20, temperature=0.7, seed=3))
    assert "".join(player.write(asked(tokens=20, seed=3))) == expected
    with silenced(model, [1]):
        other = "".join(model.generate(TEXT, 20, temperature=0.7, seed=3))
    assert "".join(player.write(asked(tokens=20, seed=3, silenced=[1]))) == other
    assert "".join(player.write(asked(tokens=0))) == ""


def test_a_newer_question_ends_an_older_one(player):
    pieces = player.write(asked(1, tokens=2000))
    next(pieces)
    begun, answers = Event(), []

    def newer():
        begun.set()
        answers.append(player.read(asked(2)))

    thread = Thread(target=newer)
    thread.start()
    begun.wait()
    with pytest.raises(Superseded):
        for _ in pieces:
            pass
    thread.join(10)
    assert answers[0]["passage"]["symbols"] == len(TEXT)
    with pytest.raises(Superseded):
        player.read(asked(1))


@pytest.mark.parametrize("far", [2**62, 10**18, 1_999_999_999_999])
def test_one_far_serial_shuts_nobody_out(player, far):
    player.read(asked(far))
    assert player.read(asked(1_700_000_000_000))["passage"]["symbols"] == len(TEXT)
    assert player.read(asked(1_700_000_000_001))["passage"]
    with pytest.raises(Superseded):
        player.read(asked(1_700_000_000_000))  # late, of the same page
    assert player.read(asked(7))["passage"]  # of another page


def test_a_far_serial_ends_what_is_being_written_and_no_more(player):
    pieces = player.write(asked(1, tokens=2000))
    next(pieces)
    player._request(asked(10**9))
    with pytest.raises(Superseded):
        next(pieces)
    assert player.read(asked(2))["passage"]


def test_half_of_a_pair_is_no_character(player):
    answer = player.read(asked(text="the \ud83d cat"))
    assert answer["said"] == ["left out, unknown to the model: \ufffd"]


def test_the_passage_says_who_is_silenced(player):
    assert player.read(asked(silenced=[3, 1]))["passage"]["silenced"] == [1, 3]


def test_someone_who_leaves_lets_others_in(player, model):
    pieces = player.write(asked(1, tokens=2000, silenced=[0]))
    next(pieces)
    pieces.close()
    assert player.read(asked(2))["passage"]["bits"] == passage_of(model, TEXT)["bits"]  # nobody is silenced any more


@pytest.mark.parametrize(
    "question, sentence",
    [
        ({}, "takes 'serial', an integer, and 'text'"),
        ({"serial": True, "text": ""}, "takes 'serial'"),
        (asked(text=b"x"), "takes 'serial'"),
        (asked(silenced=[4]), r"neurons from 0 to 3, not \[4\]"),
        (asked(silenced=[-1]), "neurons from 0 to 3"),
        (asked(silenced="01"), "must be a list"),
        (asked(silenced=[True]), "must be a list"),
    ],
)
def test_questions_that_are_none(player, question, sentence):
    for method in (player.read, player.write):
        with pytest.raises(InputError, match=sentence):
            method(question)


@pytest.mark.parametrize(
    "field, value, sentence",
    [
        ("tokens", 2001, "from 0 to 2000, not 2001"),
        ("tokens", 1.5, "tokens must be an integer"),
        ("temperature", "hot", "must be a number, not 'hot'"),
        ("temperature", 0, "above 0"),
        ("temperature", float("nan"), "above 0"),
        ("seed", "x", "seed must be an integer"),
        ("seed", -1, "seed must be between"),
    ],
)
def test_writing_that_cannot_be(player, field, value, sentence):
    with pytest.raises(InputError, match=sentence):
        player.write(asked(**{field: value}))


def test_many_sets_of_silenced_neurons_are_not_all_kept(player):
    for n in range(4):
        player.read(asked(n, silenced=[n]))
    assert len(player._readings) == players.KEPT
    assert np.array_equal(player._readings[(), ()][0], player.vocabulary.encode(TEXT))


def test_closed_edges_carry_nothing(player, model):
    passage = player.read(asked(0, closed=[[0, 1], [0, 1]]))["passage"]
    assert passage["closed"] == [[0, 1]]
    assert "closed" not in player.read(asked(1))["passage"]
    with cut(model, [(0, 1)]):
        bar = read_passage(model, player.vocabulary.encode(TEXT))
    assert passage["bits"] == bar["bits"]
    for wrong in ([[0]], [0, 1], [[0, 9]], "01"):
        with pytest.raises(InputError, match="closed must be a list of pairs"):
            player.read(asked(2, closed=wrong))
