"""The generalisation gap: which text was read, how it is scored, and what is made of it."""

import math

import numpy as np
import pytest
import torch

import inn
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.data.streams import Streams
from inn.inference.evaluate import evaluate
from inn_studies.gap import Gap, bits_of, gap_perplexity, over_training, stretches
from inn_studies.text8 import MODELS


def config(symbols, batch=4, order="contiguous"):
    return RunConfig(
        model_config("lstm"), DataConfig(batch=batch, window=10, order=order), TrainConfig(symbols=symbols)
    )


def test_the_stretches_are_what_the_streams_have_read_and_what_follows():
    text = np.arange(1000)
    streams = Streams(text, batch=4, window=10)
    seen = set()
    for _ in range(5):  # 200 symbols
        batch = streams.next()
        seen |= set(batch.inputs.flatten().tolist())
    read, unread = stretches(1000, config(200), 20)
    assert unread is not None
    assert [len(r) for r in (*read, *unread)] == [20] * 8
    assert {i for r in read for i in r} <= seen
    assert not {i for r in unread for i in r} & seen
    assert all(a.stop == b.start for a, b in zip(read, unread, strict=True))
    assert read[1] == range(280, 300)


@pytest.mark.parametrize("given", [config(4000), config(200, order="random")])
def test_nothing_is_unread_after_a_pass_or_where_windows_are_random(given):
    read, unread = stretches(1000, given, 20)
    assert unread is None
    assert all(len(r) == 20 and r.stop <= 1000 for r in read)


def test_bits_of_rows_are_those_of_the_strict_score():
    torch.manual_seed(0)
    model = inn.INN(vocab=5, neurons=2, width=16, rounds=1)
    text = np.random.default_rng(0).integers(0, 5, size=(2, 90))
    whole = [evaluate(model, row) for row in text]
    assert bits_of(model, text, 0, window=32) == pytest.approx(sum(s.bits for s in whole) / 2, rel=1e-5)
    first = [evaluate(model, row[:41]) for row in text]
    late = sum(s.nats_total for s in whole) - sum(s.nats_total for s in first)
    assert bits_of(model, text, 40, window=32) == pytest.approx(late / math.log(2) / (2 * 49), rel=1e-5)


def test_the_curve_pairs_each_validation_with_the_training_before_it():
    log = [
        {"event": "train", "bits": 4.0}, {"event": "train", "bits": 3.0}, {"event": "warning", "message": ""},
        {"event": "validation", "step": 8, "bits": 3.6}, {"event": "train", "bits": 2.5},
        {"event": "validation", "step": 16, "bits": 2.75},
    ]  # fmt: skip
    assert over_training(log) == [(8, 3.5, 3.6), (16, 2.5, 2.75)]


def row(label, held_out=2.1, curve=((8, 3.0, 3.1), (16, 2.0, 2.1))):
    parts = [{"read": 2.0, "unread": 2.05, "held_out": held_out, "scored": 100}]
    data = {"name": "text8-69m", "splits": {"train": 10_000}}
    return {"label": label, "lr": 0.01, "parts": parts, "curve": list(curve), "symbols": 5000, "data": data}


def result(**rows):
    made = {label: row(label) for label in MODELS}
    return {"rows": list({**made, **rows}.values())}


def test_table():
    table = Gap().table(result(lstm={**row("lstm"), "parts": []}))
    assert "| inn | 2.000 | 2.000 | 2.050 | 2.100 | +0.100 | +0.050 | +0.29 | +0.000 |" in table
    assert "| lstm | – | – | – | – | – | – | – | – |" in table
    assert "0.5 passes over its training part" in table


def test_a_gap_in_perplexity_of_the_paper_s_size_is_reproduced():
    assert gap_perplexity({"read": 2.0, "held_out": 3.0}) == 4
    assert [v.outcome for v in Gap().verdicts(result())] == ["not reproduced", "not reproduced"]
    steady = row(
        "inn-paper-fixed", held_out=math.log2(4.7), curve=[(8, 2.0, math.log2(4.7)), (16, 2.0, math.log2(4.7))]
    )
    assert Gap().verdicts(result(**{"inn-paper-fixed": steady}))[0].outcome == "reproduced"
    gone = {**steady, "parts": []}
    assert Gap().verdicts(result(**{"inn-paper-fixed": gone}))[0].outcome == "not measured"


def test_overfitting_is_a_held_out_loss_that_rises_again():
    up = row("transformer-paper", curve=[(8, 3.0, 2.0), (16, 2.0, 2.1)])
    verdict = Gap().verdicts(result(**{"transformer-paper": up}))[1]
    assert verdict.outcome == "reproduced"
    assert verdict.ours == "inn-paper-fixed +0.000 BPC above its best; transformer-paper +0.100 BPC above its best"
    both = {**up, "label": "inn-paper-fixed"}
    assert Gap().verdicts(result(**{"transformer-paper": up, "inn-paper-fixed": both}))[1].outcome == "not reproduced"
