"""The study of logs: the faults, the cheap models, what a score is worth, and how a sample is read."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch

from inn import INN
from inn.data.vocabulary import build_vocabulary
from inn.inference.evaluate import evaluate
from inn.inference.scoring.lines import LineScorer
from inn_studies import open_study
from inn_studies.logs import measures
from inn_studies.logs.faults import COPIES, KINDS, injected
from inn_studies.logs.precision import average_precision, chosen, line_scores
from inn_studies.logs.rivals import order_bits, ppm_bits
from inn_studies.logs.samples import SYSTEMS, held_out, lines_of, pretraining, sample
from inn_studies.logs.telling import bits_table, judged, precision_table

LINES = lines_of(sample("Apache", 200))


def test_faults_are_in_the_second_half_labelled_and_seeded():
    steady = [
        b"%06d main job[%d]: %s part %d\n" % (i * 7, i % 3, [b"start", b"carry on", b"stop now"][i % 3], i % 9)
        for i in range(300)
    ]
    faulty, kinds = injected(steady, 3, 0)
    assert (faulty, kinds) == injected(steady, 3, 0) != injected(steady, 3, 1)
    assert faulty[:150] == steady[:150]
    assert not any(kinds[:151])
    known = set(steady)
    for line, kind in zip(faulty, kinds, strict=True):
        assert (line in known) == (kind in ("", "burst", "missing")), (kind, line)
    assert {kind: kinds.count(kind) for kind in KINDS} == {**dict.fromkeys(KINDS, 3), "foreign": 0, "burst": COPIES}
    gone = [line for line in steady if line not in faulty]
    assert len(gone) == 3 + sum(kinds.count(kind) for kind in ("range", "swap", "token", "truncated"))
    foreign, of = injected(LINES, 1, 0)  # three shapes and more
    assert all(
        line.split(b" ")[0] == foreign[i + 1].split(b" ")[0] for i, line in enumerate(foreign) if of[i] == "foreign"
    )


def test_average_precision_is_the_usual_one():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, wrong = rng.integers(0, 6, 40) / 2, rng.random(40) < 0.2
        wrong[0] = True
        assert average_precision(scores, wrong) == pytest.approx(metrics.average_precision_score(wrong, scores))


@pytest.mark.parametrize("bits", [partial(order_bits, order=2), partial(ppm_bits, order=3)])
def test_the_probabilities_of_all_bytes_add_up_to_one(bits):
    for n in (0, 1, 7, 60):
        text = bytes(np.random.default_rng(n).choice([97, 98, 99], n).astype(np.uint8))
        assert sum(2 ** -bits(text + bytes([s]))[-1] for s in range(256)) == pytest.approx(1)


def test_no_system_is_pretrained_on_and_held_out():
    assert sorted(s for fold in range(4) for s in held_out(fold)) == sorted(SYSTEMS)
    for fold in range(4):
        mine = {sample(system, 20) for system in held_out(fold)}
        assert len(mine & set(pretraining(fold, 2000, 20))) == 0
        assert len(pretraining(fold, 5, 20)) == 12
        assert all(len(lines_of(text)) == 5 for text in pretraining(fold, 5, 20))


@pytest.fixture(scope="module")
def model() -> INN:
    torch.manual_seed(0)
    recall = {"kind": "counts", "contexts": [1, 3], "slots": 64}
    found = INN(vocab=256, neurons=2, width=8, rounds=1, recall=recall).eval()
    found.vocabulary = build_vocabulary("bytes", "", 256)
    return found


@pytest.mark.parametrize("reader", [measures._plain, measures._learning])
def test_a_text_that_is_read_from_its_middle_costs_what_it_costs_from_its_start(model, reader, monkeypatch):
    monkeypatch.setattr(measures, "WINDOW", 16)
    monkeypatch.setattr(measures, "_CHUNK", 64)
    first, second, other = b"".join(LINES[:4]), b"".join(LINES[4:7]), b"".join(LINES[9:12])
    read = reader(model)
    begun = read(first)
    aside = copy.deepcopy(read)
    assert np.allclose(np.concatenate((begun, read(second))), reader(model)(first + second), atol=1e-3)
    assert np.allclose(np.concatenate((begun, aside(other))), reader(model)(first + other), atol=1e-3)
    if reader is measures._plain:
        whole = evaluate(model, np.frombuffer(first, np.uint8))
        assert begun.sum() == pytest.approx(8 + whole.bits * whole.count, rel=1e-5)


def test_lines_are_read_with_keys_as_inn_score_reads_them(model):
    key, text = r"job\[(\d+)\]", b"".join(LINES[:40])
    scorer = LineScorer(model, key=key)
    lines = [*scorer.feed(text), *scorer.end()]
    bits = line_scores(LINES[:40], measures._keyed(model, LINES[:40], key))["sum"]
    assert bits[1:] == pytest.approx([line.bits for line in lines][1:], rel=1e-5)
    assert bits[0] == pytest.approx(lines[0].bits + 8, rel=1e-5)


def test_what_a_score_is_made_of_is_chosen_without_the_systems_that_are_judged():
    def told(best: str) -> dict:
        return {way: {"all": 0.9 if way == best else 0.1, "swap": 0.5} for way in ("sum", "peak")}

    def system(fold: int, best: str) -> dict:
        ours = {"bits": {measures.PLAIN: 0.5, measures.LEARNED: 0.38}, "faults": {"swap": 2}}
        precision = {name: told(best) for name in (measures.PLAIN, measures.LEARNED)}
        return {
            "fold": fold,
            "compressors": {"alone": {"xz": 0.6}, "primed": {}},
            "ours": [{**ours, "precision": precision}],
            "rivals": [{"precision": {"order 1": told("sum"), "order 2": told("peak"), "PPM": told("sum")}}],
        }

    result = {
        "systems": {"A": system(0, "sum"), "B": system(0, "sum"), "C": system(1, "peak")},
        "rows": [{"parameters": 7, "symbols": 10}],
        "learning": {"rate": 0.1, "window": 8},
    }
    found = judged(result, 0)
    ours = found[f"the model, {measures.LEARNED}"]
    assert ours["picked"] == {"A": "peak", "B": "peak", "C": "sum"}  # by the other fold
    assert (ours["means"]["all"], ours["hindsight"], ours["best"]) == (0.1, pytest.approx(1.9 / 3), "sum")
    assert found["order-k counts"]["picked"]["A"] in ("order 1, sum", "order 2, peak")
    assert chosen({"A": {"x": 0.1, "y": 0.2}}, ["A"]) == "y"
    assert "is 0.380 (goal 0.40: met), without 0.500" in bits_table(result)
    assert "(goal +0.05: not met)" in precision_table(result)
    assert open_study("logs").verdicts(result) == []
