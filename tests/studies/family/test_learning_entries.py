"""Entries 28 and 41: the streams are what they say, and verdicts follow the numbers."""

from __future__ import annotations

from inn_studies.family.entry import row
from inn_studies.family.growing import FROZEN, NEW, OURS, STREAM, Growing
from inn_studies.family.protecting import AVERAGE, BACKWARD, FREE, HEBB, PLAIN, Protecting, backward
from inn_studies.family.protecting import OURS as PROTECTED


def grown(expanded=NEW, new=0.8, old=0.9, repeat=0.7):
    matrix = [[0.9 if t not in NEW else 0.1 for t in range(8)] for _ in range(8)]
    for t in NEW:
        matrix[t][t] = new
    matrix[-1][0] = old
    run = {"expanded": list(expanded), "novelty": [None, *(2.0 if t in NEW else repeat for t in range(1, 8))]}
    return {"rows": [row(OURS, {"all": [0.8]}), row(FROZEN, {"all": [0.4]})], "runs": [{**run, "matrix": matrix}]}


def verdicts(entry, result):
    return {c.id: c.verdict for c in entry.criteria(result)}


def test_growing_is_judged_by_where_it_grew_and_what_that_did():
    assert len(STREAM) == 8
    assert set(verdicts(Growing(), grown()).values()) == {"yes"}
    assert verdicts(Growing(), grown(expanded=(1, 3)))["expansions"] == "no"
    assert verdicts(Growing(), grown(repeat=1.2))["margin"] == "no"
    assert verdicts(Growing(), grown(old=0.88))["the old"] == "no"
    assert verdicts(Growing(), grown(new=0.2))["the new"] == "no"


def protected(forgot=-0.02, lost=0.04, last=2.5, drift=1e-6):
    images = {PLAIN: (0.6, -0.2), PROTECTED: (0.8, forgot), HEBB: (0.8, forgot)}
    rows = [row(f"images: {n}", {AVERAGE: [a], BACKWARD: [b]}) for n, (a, b) in images.items()]
    texts = {PLAIN: (0.1, 2.5), PROTECTED: (lost, last), FREE: (0.1, 2.5)}
    rows += [row(f"texts: {n}", {"text8 lost": [a], "last text": [b]}) for n, (a, b) in texts.items()]
    return {"rows": rows, "runs": {f"images: {n}": [{"drift": drift}] for n in images}}


def test_protecting_is_judged_by_what_is_forgotten_and_what_is_learned():
    assert set(verdicts(Protecting(), protected()).values()) == {"yes"}
    assert verdicts(Protecting(), protected(forgot=-0.1))["protected does not"] == "no"
    assert verdicts(Protecting(), protected(lost=0.08))["texts: text8"] == "no"
    assert verdicts(Protecting(), protected(last=2.6))["texts: the last"] == "no"
    assert verdicts(Protecting(), protected(drift=0.1))["a projection"] == "no"
    assert backward([[0.9, 0.1], [0.8, 0.9]]) == 0.8 - 0.9
    assert "bits of text8" in Protecting().found(protected())
