from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inn.config.assemble import model_config, stored_model
from inn.config.rivals import NgramConfig
from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.inference.evaluate import Score, evaluate, evaluate_windows
from inn.inference.floors import (
    COMPRESSORS,
    compressor_bits,
    compressors,
    floors,
    ngram_bits,
    ngram_counts,
    primed_bits,
)
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.system.errors import InputError

FIELDS = {
    "inn": {"neurons": 2, "width": 8, "rounds": 2, "slots": 64, "state": 4, "dropout": 0.3},
    "lstm": {"width": 8, "dropout": 0.3},
    "transformer": {"width": 8, "layers": 2, "heads": 2, "window": 64},
    "ngram": {"order": 3},
}


def text(n: int, vocab: int = 7, seed: int = 0) -> np.ndarray:
    """Symbols of which some are much more frequent than others."""
    draw = np.random.default_rng(seed)
    return np.minimum(draw.geometric(0.35, n) - 1, vocab - 1).astype(np.uint8)


def make(kind: str, vocab: int = 7, **fields):
    torch.manual_seed(0)
    model = build_model(stored_model({"kind": kind, "vocab": vocab, **FIELDS[kind], **fields}))
    if kind == "ngram":
        model.fit(text(2000, vocab, seed=9))  # type: ignore[operator]
    else:
        with torch.no_grad():
            for p in model.parameters():  # far from its start, where every model predicts the same
                p.add_(torch.randn_like(p) * 0.2)
    return model


class Unigram(SequenceModel):
    """A fixed prediction: the total over a text is the sum over its symbols, whatever came before."""

    def __init__(self, vocab: int):
        super().__init__(NgramConfig(vocab=vocab, order=1))
        self.logits = torch.linspace(0, -3, vocab)

    def forward(self, tokens: Tensor, state: State | None = None, *, reset=None, mask=None):
        return self.logits.expand(*tokens.shape, -1), State({})

    def initial_state(self, batch: int) -> State:
        return State({})

    def flops(self) -> dict[str, float]:
        return {}


@given(
    n=st.integers(2, 400), streams=st.integers(1, 9), window=st.integers(1, 64), warmup=st.integers(0, 50),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_every_symbol_after_the_first_counts_exactly_once(n, streams, window, warmup, seed):
    symbols, model = text(n, seed=seed), Unigram(7)
    score = evaluate(model, symbols, streams=streams, window=window, warmup=warmup)
    each = -model.logits.double().log_softmax(-1).numpy()
    assert score.count == n - 1
    assert score.nats_total == pytest.approx(each[symbols[1:]].sum(), rel=1e-6)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("window", [1, 37, 512])
def test_one_stream_is_one_forward_pass_over_the_whole_text(kind, window):
    model, symbols = make(kind), text(150)
    tokens = torch.from_numpy(symbols.astype(np.int64))[None]
    with torch.no_grad(), evaluating(model):
        logits, _ = model(tokens[:, :-1])
    expected = F.cross_entropy(logits.double().flatten(0, 1), tokens[0, 1:], reduction="sum").item()
    score = evaluate(model, symbols, window=window)
    assert score.count == 149
    assert score.nats_total == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("streams", [2, 4, 7])
def test_streams_side_by_side_see_what_one_stream_sees_once_they_are_warm(streams):
    model, symbols = make("ngram"), text(1009)  # a model that looks back on two symbols; 1008 targets divide evenly
    one = evaluate(model, symbols)
    many = evaluate(model, symbols, streams=streams, warmup=2, window=50)
    assert many.count == one.count == 1008
    assert many.nats_total == pytest.approx(one.nats_total, rel=1e-6)
    cold = evaluate(model, symbols, streams=streams, warmup=0, window=50)
    assert cold.nats_total != pytest.approx(one.nats_total, rel=1e-6)


@pytest.mark.parametrize("kind", FIELDS)
def test_parallel_streams_come_close_for_every_model(kind):
    # What was recalled from before the warm-up is not there: so without it.
    model, symbols = make(kind, **({"recall": []} if kind == "inn" else {})), text(1200)
    one, four = evaluate(model, symbols), evaluate(model, symbols, streams=4, warmup=128)
    assert four.count == one.count
    assert four.bits == pytest.approx(one.bits, abs=2e-3)


def test_a_text_too_short_for_its_streams_uses_fewer():
    assert evaluate(make("lstm"), text(100), streams=8).nats_total == evaluate(make("lstm"), text(100)).nats_total


def test_dropout_is_off_and_the_models_mode_is_put_back():
    model = make("inn").train()
    model.get_submodule("norm").eval()
    assert evaluate(model, text(60)) == evaluate(model, text(60)) == evaluate(model.eval(), text(60))
    model.train()
    model.get_submodule("norm").eval()
    evaluate(model, text(60))
    assert model.training
    assert model.get_submodule("graph").training
    assert not model.get_submodule("norm").training


def test_no_random_number_is_drawn_and_no_gradient_kept():
    model = make("inn").train()
    before = torch.get_rng_state()
    evaluate(model, text(60))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())


def test_progress_ends_at_the_whole():
    seen: list[tuple[int, int]] = []
    evaluate(make("lstm"), text(100), window=30, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(30, 99), (60, 99), (90, 99), (99, 99)]


def test_bfloat16_comes_close():
    model, symbols = make("inn"), text(300)
    assert evaluate(model, symbols, dtype="bfloat16").bits == pytest.approx(evaluate(model, symbols).bits, abs=0.05)


@pytest.mark.parametrize(
    "n, options", [(0, {}), (1, {}), (9, {"streams": 0}), (9, {"window": 0}), (9, {"warmup": -1})]
)  # fmt: skip
def test_what_cannot_be_scored_is_refused(n, options):
    with pytest.raises(InputError):
        evaluate(make("lstm"), text(n), **options)


def test_the_units_of_a_score():
    score = Score(nats_total=math.log(2) * 30, count=10)
    assert score.bits == pytest.approx(3)
    assert score.perplexity == pytest.approx(8)
    assert Score(1e6, 1).perplexity == math.inf


def smoothed(train: list[int], held_out: list[int], vocab: int, order: int) -> float:
    """Add-one smoothing as it is written in a textbook, one symbol at a time."""
    total, n = 0.0, 0
    for i in range(max(1, order - 1), len(held_out)):
        context, s = held_out[i - order + 1 : i], held_out[i]
        followed = [train[j] for j in range(order - 1, len(train)) if train[j - order + 1 : j] == context]
        total -= math.log2((followed.count(s) + 1) / (len(followed) + vocab))
        n += 1
    return total / n


@pytest.mark.parametrize("order, name", [(1, "unigram"), (2, "bigram"), (3, "trigram"), (4, "4-gram")])
def test_floors_are_add_one_smoothed_cross_entropies(order, name):
    train, held_out = text(300, 4), text(60, 4, seed=1)
    found = floors(train, held_out, 4, orders=(0, order))
    assert found["uniform"] == 2.0
    assert found[name] == pytest.approx(smoothed(train.tolist(), held_out.tolist(), 4, order), rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_floors_agree_with_the_ngram_model(order):
    train, held_out = text(3000), text(3000, seed=1)
    model = build_model(model_config("ngram", vocab=7, order=order))
    model.fit(train)  # type: ignore[operator]
    name = ("unigram", "bigram", "trigram")[order - 1]
    # They differ in the first symbols only, whose context is not whole.
    assert evaluate(model, held_out).bits == pytest.approx(floors(train, held_out, 7)[name], abs=2e-3)


def test_floors_are_counted_the_same_in_chunks_and_in_large_tables(monkeypatch):
    from inn.inference import floors as counting

    train, held_out = text(5000), text(500, seed=1)
    whole = floors(train, held_out, 7)
    monkeypatch.setattr(counting, "_CHUNK", 100)  # chunks of 100, and tables above 100 entries counted the other way
    assert floors(train, held_out, 7) == pytest.approx(whole, rel=1e-12)
    assert ngram_counts(train, 7, 3).sum() == 4998


def test_a_table_too_large_is_left_out_and_a_vocabulary_of_one_costs_nothing():
    assert floors(text(100), text(100, seed=1), 10_000).keys() == {"uniform", "unigram"}
    zeros = np.zeros(50, dtype=np.uint8)
    assert set(floors(zeros, zeros, 1).values()) == {0.0}
    assert ngram_bits(ngram_counts(zeros, 1, 2), zeros, 1, 2) == 0.0


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_compressor_knows_more_after_the_training_text(name):
    if name not in compressors():
        pytest.skip(f"{name} is not installed")
    train, held_out = "".join(f"line {i} of a text that repeats itself\n" for i in range(400)), "line 7 of a text\n" * 9
    found = compressor_bits(name, train, held_out)
    assert 0 < found["primed"] < found["alone"]
    assert compressor_bits(name, train.encode(), held_out.encode()) == pytest.approx(found, abs=0.2)  # zpaq: its date
    half = compressor_bits(name, train, held_out, symbols=2 * len(held_out))
    assert half["alone"] == pytest.approx(found["alone"] / 2, abs=0.2)
    with pytest.raises(InputError):
        compressor_bits(name, train, "")


def test_zpaq_has_the_same_tables_for_a_text_and_its_beginning(monkeypatch):
    """-m5 takes larger tables for a longer file; what they save at the beginning is not what the rest costs."""
    from inn.inference import floors as counting

    mib, said = 1 << 20, []

    def zpaq(text, method="5"):
        said.append(method)
        tables = max(0, (len(text) + 4095).bit_length() - 20) if method == "5" else int(method[1 : method.index(",")])
        return len(text) // 10 - 1000 * tables

    monkeypatch.setattr(counting, "_zpaq", zpaq)
    monkeypatch.setitem(COMPRESSORS, "zpaq -m5", zpaq)
    train, more, little = b"a" * (2 * mib - 9000), b"a" * 10_000, b"a" * 1000
    assert primed_bits("zpaq -m5", train, [more, little]) == pytest.approx([8000, 800], abs=8)  # not 8000 - 8 x 1000
    assert any(method.startswith("x2,") for method in said)
    monkeypatch.setattr(counting, "_ZPAQ_TEXT", "x{}9,")  # not what -m5 is for this text
    assert primed_bits("zpaq -m5", train, [more]) == pytest.approx([0], abs=8)


def test_a_compressor_that_is_not_here_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr("inn.inference.floors.shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "pyppmd", None)
    assert list(compressors()) == ["xz"]
    with pytest.raises(InputError, match="apt-get install zpaq"):
        primed_bits("zpaq -m5", b"a", [b"b"])
    with pytest.raises(InputError, match=r"pip install 'inn-torch\[compressors\]'"):
        primed_bits("PPMd", b"a", [b"b"])


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("INN_DATA"), reason="needs text8-69m in INN_DATA")
def test_the_floors_of_text8():
    """The values known for this text, with held-out part valid and test together."""
    data = prepare(DataConfig(corpus="text8-69m"))
    held_out = np.concatenate((data.valid, data.test))
    found = floors(data.train, held_out, data.vocabulary.size, orders=range(6))
    expected = {"uniform": 4.755, "unigram": 4.121, "bigram": 3.429, "trigram": 2.878, "4-gram": 2.336, "5-gram": 1.977}
    assert found == pytest.approx(expected, abs=6e-4)


def rolling(model, symbols: np.ndarray, window: int, start: int) -> float:
    """Nats by the windows of lm-evaluation-harness (`get_rolling_token_windows` with one token of context)."""
    tokens, done, total = symbols.tolist(), 0, 0.0
    while done < len(tokens):
        count = min(window, len(tokens) - done)
        end = done + count
        read = [start, *tokens][:count] if done == 0 else tokens[end - window - 1 : end - 1]
        with torch.no_grad():
            shares = model(torch.tensor([read]))[0][0].double().log_softmax(-1)
        total -= sum(float(shares[i - count, tokens[end + i - count]]) for i in range(count))
        done = end
    return total


@pytest.mark.parametrize("kind", FIELDS)
@given(n=st.integers(1, 60), window=st.integers(1, 70), start=st.integers(0, 6))
def test_fresh_windows_are_those_of_the_harness(kind, n, window, start):
    model = make(kind).eval()
    score = evaluate_windows(model, text(n, seed=n), window, start)
    assert score.count == n
    assert score.nats_total == pytest.approx(rolling(model, text(n, seed=n), window, start), rel=1e-5)


def test_one_window_is_one_stream_with_the_first_symbol_scored_too():
    model, symbols = make("inn"), text(500)
    whole = evaluate_windows(model, symbols, 500, 3)
    stream = evaluate(model, np.concatenate([[3], symbols]))
    assert whole.nats_total == pytest.approx(stream.nats_total, rel=1e-6)
    assert evaluate_windows(model, symbols, 10_000, 3).nats_total == whole.nats_total
    assert model.training  # as it was


def test_windows_that_cannot_be():
    for symbols, window in ((text(0), 5), (text(9), 0)):
        with pytest.raises(InputError, match="both must be at least 1"):
            evaluate_windows(make("lstm"), symbols, window, 0)


def test_windows_report_what_they_have_read():
    seen = []
    evaluate_windows(make("lstm"), text(50_001), 1000, 0, progress=lambda *at: seen.append(at))
    assert seen[-1] == (50_001, 50_001)
    assert seen == sorted(seen)
