"""The lab book is made of records, and says so when they are not there."""

from __future__ import annotations

import json

import pytest

from inn.system.errors import InputError
from inn_studies.lab_book import lab_book

RUN = {
    "command": "inn train text8-small --model.kind inn --train.eval_every 122 --train.eval_symbols 5 --train.lr 6e-3",
    "code": "prototype", "parameters": 1234, "training_flops_per_symbol": 2.5e6, "symbols": 2000, "scored": 500,
    "valid_bits": 1.98768, "effective_neurons": 2.61, "neurons": 4, "hardware": {"cpu": "abacus"},
}  # fmt: skip


def test_a_page_of_entries(tmp_path):
    (tmp_path / "lab-book").mkdir()
    entry = {"title": "A thing", "hypothesis": "It helps.", "runs": [RUN], "verdict": "It does not."}
    (tmp_path / "lab-book" / "runs.json").write_text(json.dumps([entry]))
    page = lab_book(tmp_path)
    assert "2,000 characters" in " ".join(page.split())
    assert "## A thing\n\n*Hypothesis.* It helps." in page
    assert "| `--train.lr 6e-3` (prototype) | 1,234 | 2.50 M | 1.9877 | 500 | 2.6 of 4 |" in page
    assert "*Verdict.* It does not." in page


def test_an_entry_with_a_table_of_its_own(tmp_path):
    (tmp_path / "lab-book").mkdir()
    first = {"title": "A thing", "hypothesis": "It helps.", "runs": [RUN], "verdict": "It does not."}
    other = {"title": "B", "hypothesis": "H.", "setup": "S.", "table": [["a", "n:"], ["x", "3"]], "verdict": "V."}
    (tmp_path / "lab-book" / "runs.json").write_text(json.dumps([first, other]))
    page = lab_book(tmp_path)
    assert "## B\n\n*Hypothesis.* H.\n\nS.\n\n| a | n |\n| --- | ---: |\n| x | 3 |\n\n*Verdict.* V.\n" in page


@pytest.mark.parametrize("text", ["", "[]", "[{}]", "{"])
def test_damaged(tmp_path, text):
    (tmp_path / "lab-book").mkdir()
    (tmp_path / "lab-book" / "runs.json").write_text(text)
    with pytest.raises(InputError, match="restore it"):
        lab_book(tmp_path)
    with pytest.raises(InputError, match="restore it"):
        lab_book(tmp_path / "nowhere")
