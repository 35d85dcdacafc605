"""The samples study: words counted, and its verdict on results made by hand."""

import pytest

from inn_studies.samples import PROMPTS, Samples, word_facts
from inn_studies.text8 import MODELS


def test_word_facts():
    facts = word_facts(["cut the the dog zzz cut", "x dog y"], {"the", "dog"})
    assert facts == {"known": 0.8, "distinct": 0.6, "repeated": 0.2}
    assert word_facts(["", "one two"], set()) == {"known": 0, "distinct": 0, "repeated": 0}


def words(known):
    return {"known": known, "distinct": 0.5, "repeated": 0.0}


def result(ours, table=0.4):
    facts = {"symbols": 1000, "data": {"name": "text8-69m"}}
    rows = [
        {"label": label, "valid_bits": 2.0, "texts": ["a *b*\nc"] * len(PROMPTS), "words": words(0.7), **facts}
        for label in (*MODELS, "ngram")
    ]
    rows[-1]["words"] = words(table)
    rows[MODELS.index("inn-paper-fixed")]["words"] = ours
    return {"rows": rows, "held_out": words(0.9), "prompts": list(PROMPTS), "tokens": 400}


@pytest.mark.parametrize(
    ("ours", "outcome"), [(words(0.82), "reproduced"), (words(0.8), "not reproduced"), (None, "not measured")]
)
def test_verdict(ours, outcome):
    assert Samples().verdicts(result(ours))[0].outcome == outcome


def test_table_quotes_on_one_line_and_leaves_out_what_diverged():
    shown = result(words(0.8))
    shown["rows"][MODELS.index("inn")] |= {"texts": None, "words": None, "valid_bits": None}
    table = Samples().table(shown)
    assert "| inn-paper-fixed | 2.000 | 80% | 50% | 0% |" in table
    assert "| inn | – | – | – | – |" in table
    assert "| held-out text itself | – | 90% | 50% | 0% |" in table
    assert "> *the history of* a \\*b\\* c\n" in table
    assert "**inn**" not in table
