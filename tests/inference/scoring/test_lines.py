"""The sum over a text is what one strict stream of `evaluate` finds, however the text arrives."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inn import INN
from inn.config.assemble import model_config
from inn.data.vocabulary import build_vocabulary
from inn.inference.evaluate import evaluate
from inn.inference.scoring import lines as lines_module
from inn.inference.scoring.lines import UNKNOWN_BITS, Line, LineScorer
from inn.models.build import build_model
from inn.system.errors import InputError

_DRAW = random.Random(0)
TEXT = "".join(_DRAW.choice(["the cat sat on the mat\n", "über alles\n", "\n", "a  b\tc\n"]) for _ in range(24)) + "end"


def model_of(kind: str):
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    v = build_vocabulary(kind, TEXT, 280)
    torch.manual_seed(0)
    model = INN(vocab=v.size, neurons=2, width=8, rounds=1, slots=64).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    model.vocabulary = v
    return model


MODELS: dict[str, INN] = {}


def model(kind: str) -> INN:
    return MODELS.setdefault(kind, model_of(kind))


def scored(scorer: LineScorer, data: bytes, cuts=(), flush: bool = False):
    found, places = [], [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for a, b in pairwise(places):
        found += scorer.feed(data[a:b])
        if flush:
            found += scorer.flush()
    return [*found, *scorer.end()]


@pytest.mark.parametrize("kind", ["bytes", "characters", "words", "bpe"])
@given(cuts=st.lists(st.integers(0, len(TEXT.encode())), max_size=8), window=st.sampled_from([7, 64, 512]))
def test_the_sum_is_that_of_one_strict_stream(kind, cuts, window):
    m, data = model(kind), TEXT.encode()
    scorer = LineScorer(m, window=window)
    lines = scored(scorer, data, cuts)
    whole = evaluate(m, m.vocabulary.encode(TEXT), window=window)
    assert scorer.symbols == whole.count == sum(line.symbols for line in lines)
    assert scorer.bits == pytest.approx(whole.nats_total / math.log(2), rel=1e-12)  # the same windows: the same numbers
    assert sum(line.bits for line in lines) == pytest.approx(scorer.bits, rel=1e-12)
    assert [line.text for line in lines] == TEXT.split("\n")
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("kind", ["bytes", "characters", "words"])
def test_flushing_at_any_time_changes_rounding_and_nothing_else(kind):
    m, data = model(kind), TEXT.encode()
    often = scored(LineScorer(m), data, range(0, len(data), 5), flush=True)
    for a, b in zip(often, scored(LineScorer(m), data), strict=True):
        assert (a.number, a.text, a.symbols) == (b.number, b.text, b.symbols)
        assert a.bits == pytest.approx(b.bits, abs=1e-3)


@pytest.mark.parametrize("kind", ["ngram", "lstm", "transformer"])
def test_other_kinds_of_models_too(kind):
    fields = {"ngram": {}, "lstm": {"width": 8}, "transformer": {"width": 8, "layers": 1, "heads": 2, "window": 32}}
    v = build_vocabulary("characters", TEXT)
    torch.manual_seed(0)
    m = build_model(model_config(kind, vocab=v.size, **fields[kind])).eval()
    if kind == "ngram":
        m.fit(v.encode(TEXT))  # type: ignore[operator]
    m.vocabulary = v
    scorer = LineScorer(m)
    scored(scorer, TEXT.encode(), [100, 300])
    assert scorer.bits == pytest.approx(evaluate(m, v.encode(TEXT)).nats_total / math.log(2), rel=1e-12)


def test_a_flush_gives_every_whole_line_and_keeps_the_rest():
    scorer = LineScorer(model("characters"))
    assert list(scorer.feed(b"the cat\nsat on")) == []
    assert [line.text for line in scorer.flush()] == ["the cat"]
    assert list(scorer.flush()) == []
    list(scorer.feed(b" the mat\n"))
    assert [line.text for line in scorer.flush()] == ["sat on the mat"]
    assert list(scorer.end()) == []


def test_a_flush_reads_sub_words_that_still_wait():
    scorer = LineScorer(model("bpe"))
    assert list(scorer.feed(b"the cat\n")) == []
    assert [line.text for line in scorer.flush()] == ["the cat"]


def test_whole_windows_need_no_flush():
    scorer = LineScorer(model("characters"), window=4)
    assert [line.text for line in scorer.feed(b"the\ncat\nsat")] == ["the", "cat"]


def test_unknown_symbols_cost_what_is_documented_and_are_not_read():
    m = model("characters")
    plain, odd = LineScorer(m), LineScorer(m)
    (first,) = scored(plain, b"the cat\n")
    (second,) = scored(odd, "the ☃cat\n".encode() + b"")
    assert second.unknown == 1
    assert second.symbols == first.symbols + 1
    assert second.bits == pytest.approx(first.bits + UNKNOWN_BITS, rel=1e-9)
    assert dict(second.parts())["☃"] == UNKNOWN_BITS
    (third,) = scored(LineScorer(m, unknown="skip"), "the ☃cat\n".encode())
    assert third.bits == pytest.approx(first.bits, rel=1e-9)
    assert third.text == "the ☃cat"


@pytest.mark.parametrize("kind", ["bytes", "characters", "words", "bpe"])
def test_the_parts_of_a_line_are_its_text_and_add_up_to_its_bits(kind):
    lines = scored(LineScorer(model(kind)), TEXT.encode())
    for line in lines:
        parts = list(line.parts())
        assert "".join(part for part, _ in parts).rstrip("\n") == line.text
        assert np.nansum([bits for _, bits in parts]) == pytest.approx(line.bits, rel=1e-9)
        assert line.peak == pytest.approx(max((b for _, b in parts if b == b), default=0.0)) or kind in ("bytes", "bpe")
    if kind == "bytes":  # a character of two bytes is one part
        assert "ü" in [part for line in lines for part, _ in line.parts()]


def test_a_long_line_is_scored_whole_and_kept_in_part(monkeypatch):
    monkeypatch.setattr(lines_module, "KEPT", 100)
    m, text = model("characters"), "the cat sat on " * 100
    scorer = LineScorer(m, window=64)
    found, kept = [], 0
    for at in range(0, len(text), 30):
        found += scorer.feed(text[at : at + 30].encode())
        kept = max(kept, sum(len(p.ids) for p in scorer._pieces), sum(map(len, scorer._ids)))
    found += scorer.end()
    (line,) = found
    assert line.symbols == len(text) - 1
    assert line.bits == pytest.approx(evaluate(m, m.vocabulary.encode(text), window=64).nats_total / math.log(2))
    assert (line.text, line.whole) == (text[:100], False)
    assert kept <= 64 + 30 + 1


def test_nothing_and_one_symbol_cost_nothing():
    assert scored(LineScorer(model("bytes")), b"") == []
    (line,) = scored(LineScorer(model("bytes")), b"x")
    assert (line.text, line.bits, line.symbols, line.rate) == ("x", 0.0, 0, 0.0)


def test_what_is_not_utf8_is_shown_as_such():
    (line,) = scored(LineScorer(model("characters")), b"a\xffb\n")
    assert (line.text, line.unknown) == ("a\ufffdb", 1)
    (line,) = scored(LineScorer(model("bytes")), b"a\xffb\n")
    assert (line.text, line.unknown) == ("a\ufffdb", 0)


def test_the_model_is_left_in_its_mode():
    m = model("bytes").train()
    scored(LineScorer(m), b"the cat\n")
    assert m.training
    m.eval()


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"window": 0}, "window must be at least 1"),
        ({"unknown": "x"}, "unknown"),
        ({"key": "("}, "key '\\(' is no regular expression"),
        ({"keys": 0}, "keys must be at least 1"),
    ],
)
def test_bad_values_are_refused(fields, sentence):
    with pytest.raises(InputError, match=sentence):
        LineScorer(model("bytes"), **fields)


def test_a_model_without_a_vocabulary_is_refused():
    with pytest.raises(InputError, match="has no vocabulary"):
        LineScorer(INN(vocab=4, neurons=2, width=8, rounds=1))


LOG = "".join(f"{who} says {what}\n" for who, what in zip("abacb-aabc-a" * 3, ("one", "two", "three!") * 12))
KEY = "^([a-c])"


def facts(lines: list[Line]) -> list[tuple]:
    return [(x.text, x.key, x.bits, x.symbols, x.surprise, x.column, x.symbol, x.expected, x.chance) for x in lines]


def without_recall() -> INN:
    torch.manual_seed(1)
    plain = INN(vocab=256, neurons=2, width=8, rounds=1, recall="none").eval()
    for p in plain.parameters():
        p.data.add_(torch.randn_like(p) * 0.3)
    plain.vocabulary = model("bytes").vocabulary
    return plain


@pytest.mark.parametrize("keys", [9, 1])
def test_each_key_is_read_in_a_state_of_its_own(keys):
    m = without_recall()
    scorer = LineScorer(m, key=KEY, keys=keys)
    lines = scored(scorer, LOG.encode())
    assert [line.key for line in lines] == [text[0] if text[0] != "-" else None for text in LOG.splitlines()]
    streams, previous, forgotten, last = defaultdict(str), None, 0, {}
    for line in lines:  # each key by itself, from the end of a line on; of one state all but the last key are forgotten
        if line.key is not None:
            if keys == 1 and previous not in (None, line.key):
                streams[previous], forgotten = "", forgotten + 1
            previous = line.key
        before = streams[line.key] or ("\n" if line.number > 1 else "")
        whole = before + line.text + "\n"
        (*_, same) = scored(LineScorer(m, window=10_000), whole.encode())
        first = line.number == 1
        assert line.symbols == len(line.text) + 1 - first
        assert line.bits == pytest.approx(same.bits, rel=1e-4)
        streams[line.key] = whole
        last[line.key] = line
    assert (scorer.keys, scorer.forgotten) == (min(keys, 3), forgotten)


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_what_a_line_costs_with_keys_does_not_depend_on_the_pieces(kind, monkeypatch):
    monkeypatch.setattr(lines_module, "KEPT", 24)  # the long line is read before it ends
    log = (LOG + "c " + LOG.replace("\n", ";") + "\n" + LOG).encode()
    whole = facts(scored(LineScorer(model(kind), window=16, key=KEY), log))
    assert {key for _, key, *_ in whole} == {"a", "b", "c", None}
    for step, flush in ((1, False), (7, kind == "bytes"), (64, False)):
        pieces = scored(LineScorer(model(kind), window=16, key=KEY), log, range(0, len(log), step), flush)
        if kind == "bytes":  # to the last bit
            assert facts(pieces) == whole
        assert [(line.text, line.key) for line in pieces] == [found[:2] for found in whole]


@pytest.mark.parametrize("kind", ["bytes", "characters", "words"])
def test_a_line_names_the_symbol_that_surprised_most(kind):
    m, v = model(kind), model(kind).vocabulary
    symbols = torch.from_numpy(v.encode(TEXT).astype("int64"))
    with torch.no_grad():
        said = m(symbols[None])[0][0].log_softmax(-1)
    bits = -said[:-1].gather(1, symbols[1:, None])[:, 0] / torch.tensor(2.0).log()
    ends = [0, *(i + 1 for i, s in enumerate(symbols.tolist()) if v.decode([s]) == "\n"), len(symbols)]
    lines = scored(LineScorer(m), TEXT.encode(), range(0, len(TEXT), 11))
    for line, (a, b) in zip(lines, pairwise(ends), strict=True):
        first = max(a, 1)
        if first == b:
            assert (line.symbol, line.column, line.expected, line.chance) == ("", 0, "", 0.0)
            continue
        at = first + int(bits[first - 1 : b - 1].argmax())
        assert line.symbol == lines_module.shown(v.decode_bytes(symbols[at : at + 1]))
        likely = said[at - 1].argmax()
        assert line.expected == lines_module.shown(v.decode_bytes([int(likely)]))
        assert line.chance == pytest.approx(float(said[at - 1, likely].exp()), rel=1e-4)
        assert (line.text + "\n")[line.column - 1 :].startswith(line.symbol) or "\\" in line.symbol
        if kind == "characters":
            assert line.column == at - a + 1
