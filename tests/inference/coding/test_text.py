"""A compressed text is as small as the model says, comes back byte for byte, and is believed only when it is whole."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import inn
from inn import INN
from inn.config.assemble import model_config
from inn.config.rivals import NgramConfig
from inn.data.vocabulary import Words, build_vocabulary
from inn.inference.coding import text
from inn.inference.coding.files import compress_file, decompress_file
from inn.inference.coding.text import compress_text, decompress_text, model_digest
from inn.inference.evaluate import evaluate
from inn.inference.held_out import evaluate_run
from inn.inference.learning import Learning
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs.load import load_with_data
from inn.system.errors import InputError

_DRAW = random.Random(0)
TEXT = " ".join(
    _DRAW.choice("the graph of neurons listens and each neuron speaks\n".split(" ")) for _ in range(150)
).rstrip()


def with_noise(model, kind: str = "bytes", seed: int = 0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    model.vocabulary = build_vocabulary(kind, TEXT, 300)
    return model.eval()


def small(kind: str = "bytes", seed: int = 0):
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    torch.manual_seed(seed)
    size = build_vocabulary(kind, TEXT, 300).size
    return with_noise(INN(vocab=size, neurons=2, width=8, rounds=1, slots=256), kind, seed)


MODEL = small()


@given(data=st.binary(max_size=120), streams=st.integers(1, 9))
def test_any_bytes_come_back(data, streams):
    packed = compress_text(MODEL, data, streams=streams)
    assert decompress_text(MODEL, packed.content) == data
    assert packed.symbols == len(data)


@pytest.mark.parametrize("kind", ["bytes", "characters", "words", "bpe"])
def test_every_kind_of_symbols_comes_back_byte_for_byte(kind):
    model, data = small(kind), (Words.normal(TEXT) if kind == "words" else TEXT).encode()
    assert decompress_text(model, compress_text(model, data).content) == data


@pytest.mark.parametrize("kind", ["lstm", "transformer", "mamba-stack"])
def test_every_kind_of_model_can(kind):
    fields = {"width": 8, "window": 32, "heads": 2} if kind == "transformer" else {"width": 8}
    layers = {} if kind == "lstm" else {"layers": 1}
    model = with_noise(build_model(model_config(kind, vocab=256, **fields, **layers)))
    assert decompress_text(model, compress_text(model, TEXT[:300].encode(), streams=2).content) == TEXT[:300].encode()


COUNTS = {"kind": "counts", "contexts": [1, 2, 3], "slots": 256}
LEARN = Learning(rate=0.01, window=8)


def counting(recall=COUNTS):
    torch.manual_seed(0)
    return with_noise(INN(vocab=256, neurons=2, width=8, rounds=1, recall=recall))


@pytest.mark.parametrize("learn", [None, LEARN], ids=["as it is", "learning"])
@pytest.mark.parametrize("recall", [COUNTS, "none", {"kind": "last", "slots": 64}], ids=["counts", "none", "last"])
def test_what_learns_and_what_shares_comes_back(recall, learn):
    model, data = counting(recall), TEXT[:500].encode()
    weights = model_digest(model)
    packed = compress_text(model, data, streams=3, learn=learn)
    assert packed.content[4] == (text.TOGETHER if learn or recall is COUNTS else text.FORMAT)
    assert decompress_text(model, packed.content) == data
    assert decompress_text(model, compress_text(model, b"", learn=learn).content) == b""
    assert model_digest(model) == weights
    if learn:
        assert packed.model_bits < 0.9 * compress_text(model, data, streams=3).model_bits


def test_streams_that_share_cost_less_and_files_of_streams_that_do_not_are_still_read(monkeypatch):
    model, data = counting(), TEXT.encode()
    together = compress_text(model, data, streams=4)
    with monkeypatch.context() as older:
        older.setattr(text, "shares", lambda model: False)
        apart = compress_text(model, data, streams=4)
    assert apart.content[4] == text.FORMAT
    assert together.content[4] == text.TOGETHER
    assert together.model_bits != apart.model_bits
    assert decompress_text(model, apart.content) == data


def test_a_portable_file_comes_back_and_costs_the_same():
    model, data = counting(), TEXT[:300].encode()
    packed = compress_text(model, data, streams=2, portable=True)
    assert packed.content[4] == text.PORTABLE
    assert packed.model_bits == pytest.approx(compress_text(model, data, streams=2).model_bits, rel=1e-4)
    assert decompress_text(model, packed.content) == data
    size = 51 + 2  # a file of another arithmetic, whole in itself
    newer = text._checked(packed.content[:51] + b"\2" + packed.content[52:size], packed.content[size + 4 :])
    with pytest.raises(InputError, match="arithmetic of version 2; this version of inn has 1"):
        decompress_text(model, newer)
    with pytest.raises(InputError, match="leave --portable out, or --learn"):
        compress_text(model, data, learn=LEARN, portable=True)


class Unigram(SequenceModel):
    """A fixed prediction, which costs no time."""

    def __init__(self):
        super().__init__(NgramConfig(vocab=256, order=1))
        self.register_buffer("logits", torch.linspace(0, -6, 256))
        self.vocabulary = build_vocabulary("bytes")

    def forward(self, tokens: Tensor, state: State | None = None, *, reset=None, mask=None):
        return self.get_buffer("logits").expand(*tokens.shape, -1), State({})

    def initial_state(self, batch: int) -> State:
        return State({})

    def flops(self) -> dict[str, float]:
        return {}


def test_a_file_is_as_small_as_one_strict_stream_says():
    model = Unigram()
    share = model.get_buffer("logits").double().softmax(0).numpy()
    data = np.random.default_rng(0).choice(256, size=20_000, p=share).astype(np.uint8)
    bits = evaluate(model, data).nats_total / math.log(2)
    packed = compress_text(model, data.tobytes())
    assert packed.model_bits == pytest.approx(bits + 8, rel=1e-6)
    assert bits < 8 * len(packed.content) < 1.005 * bits
    assert decompress_text(model, packed.content) == data.tobytes()


@pytest.mark.parametrize("kind", ["bytes", "characters"])
def test_so_it_is_with_an_inn_its_header_of_55_bytes_aside(kind):
    model = small(kind)
    score = evaluate(model, model.vocabulary.encode(TEXT))
    packed = compress_text(model, TEXT.encode())
    bits = score.nats_total / math.log(2) + math.log2(model.config.vocab)  # and the first symbol
    assert packed.model_bits == pytest.approx(bits, rel=1e-4)
    # By chance a short number lies in the last interval: each bit that it saves, half as often as the one before.
    assert bits - 24 < 8 * (len(packed.content) - 55) < 1.005 * bits + 8


def test_streams_side_by_side_cost_little():
    one, four = (len(compress_text(MODEL, TEXT.encode(), streams=k).content) for k in (1, 4))
    assert four < 1.25 * one


def damaged() -> list[bytes]:
    content = compress_text(MODEL, b"the graph of neurons").content
    return [
        *(content[:n] for n in range(0, len(content), 7)),
        content + b"x",
        *(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))),
    ]


@pytest.mark.parametrize("content", damaged())
def test_what_is_damaged_is_refused(content):
    with pytest.raises(InputError, match=r"is damaged or cut short|is not a text that inn|of format"):
        decompress_text(MODEL, content)


@given(content=st.binary(max_size=200))
def test_any_other_file_is_refused(content):
    with pytest.raises(InputError):
        decompress_text(MODEL, content)


@pytest.mark.parametrize("at", [4, 30, 54, 62, 75])
def test_what_is_damaged_of_how_it_learned_is_refused(at):
    content = compress_text(counting(), b"the graph of neurons", learn=LEARN).content
    with pytest.raises(InputError, match=r"is damaged or cut short|of format"):
        decompress_text(counting(), content[:at] + bytes([content[at] ^ 5]) + content[at + 1 :])


def test_another_model_is_refused():
    content = compress_text(MODEL, b"the graph of neurons").content
    with pytest.raises(InputError, match="was compressed with another model"):
        decompress_text(small(seed=1), content)


def test_the_digest_is_of_every_number_and_of_the_vocabulary():
    a, b = small("characters"), small("characters")
    assert model_digest(a) == model_digest(b)
    with torch.no_grad():
        next(b.parameters()).view(-1)[3] += 1e-6
    assert model_digest(a) != model_digest(b)
    b = small("characters")
    b.vocabulary = build_vocabulary("characters", TEXT.replace("h", "H"))
    assert model_digest(a) != model_digest(b)


def test_other_rounding_is_noticed_before_anything_is_decoded(monkeypatch):
    content = compress_text(MODEL, b"the graph of neurons").content
    exact = text.whole_shares
    tilt = np.arange(256) * 1e-7
    monkeypatch.setattr(text, "whole_shares", lambda logits: exact(np.asarray(logits, np.float64) + tilt))
    with pytest.raises(InputError, match="rounded otherwise here"):
        decompress_text(MODEL, content)


def test_rounding_that_differs_on_the_way_is_noticed_by_the_text(monkeypatch):
    content = compress_text(MODEL, TEXT.encode()).content
    monkeypatch.setattr(text._Predictions, "rounding", lambda self: content[21:25])
    exact = text.whole_shares
    monkeypatch.setattr(text, "whole_shares", lambda logits: exact(np.asarray(logits, np.float64) * 1.001))
    with pytest.raises(InputError, match="is not the text that went in"):
        decompress_text(MODEL, content)


@pytest.mark.parametrize(
    "kind, data, sentence",
    [
        ("characters", b"the Graph", r"byte 4 \(0x47\) would not come back"),
        ("characters", b"the \xff", "byte 4"),
        ("words", b"the  graph", "byte 4"),
        ("words", b"the grape", "byte 3"),
        ("words", b"the graph ", r"byte 9 \(0x20\) would not come back"),
        ("bpe", b"the \xff", "byte 4"),
    ],
)
def test_what_would_not_come_back_is_refused(kind, data, sentence):
    with pytest.raises(InputError, match=sentence):
        compress_text(small(kind), data)


@pytest.mark.parametrize("streams", [0, -1, 65536])
def test_streams_out_of_range_are_refused(streams):
    with pytest.raises(InputError, match="streams must be between 1 and 65,535"):
        compress_text(MODEL, b"a", streams=streams)


def test_a_model_of_no_numbers_is_refused():
    model = small()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(InputError, match="the model predicts what is no number"):
        compress_text(model, b"abc")


def test_a_model_without_a_vocabulary_is_refused():
    with pytest.raises(InputError, match="has no vocabulary"):
        compress_text(INN(vocab=4, neurons=2, width=8, rounds=1), b"a")


def test_threads_and_mode_are_put_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    model = small().train()
    try:
        compress_text(model, b"abc")
        assert torch.get_num_threads() == 2
        assert model.training
    finally:
        torch.set_num_threads(before)


def test_progress_is_told():
    told = []
    compress_text(MODEL, b"a" * 200, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (200, 200)
    assert told == sorted(told)


def test_a_run_compresses_its_test_part_to_its_score(tmp_path):
    """What `evaluate_run` says of a trained run is the size of a file that decodes."""
    corpus = tmp_path / "text.txt"
    corpus.write_text(TEXT * 8)
    train = {"symbols": 512, "eval_every": 100, "eval_symbols": 100, "sample_every": 0, "device": "cpu"}
    data = {"corpus": f"file:{corpus}", "batch": 2, "window": 16}
    run = inn.train("demo", run=tmp_path / "run", model={"neurons": 2, "width": 8, "rounds": 1}, train=train, data=data)
    score = evaluate_run(run, "test")
    model, dataset = load_with_data(run)
    part = tmp_path / "test.txt"
    part.write_bytes(dataset.vocabulary.decode_bytes(dataset.test))
    facts = compress_file(run, part, tmp_path / "test.inn")
    bits = score["bits"] * score["count"] + math.log2(model.config.vocab)
    assert facts["symbols"] == score["count"] + 1
    assert facts["model_bits_per_symbol"] * facts["symbols"] == pytest.approx(bits, rel=1e-4)
    assert 8 * (facts["compressed_bytes"] - 55) == pytest.approx(bits, rel=0.005, abs=24)
    decompress_file(run, tmp_path / "test.inn", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_bytes() == part.read_bytes()
