"""Numbers in the README and the reports come from the results files."""

import json
import re
import runpy
from pathlib import Path

import pytest

from inn_benchmarks import card
from inn_studies import STUDIES, open_study
from inn_studies.lab_book import lab_book
from inn_studies.report import PAGES, report, study_page, with_tables
from inn_studies.results import ENTRY

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"


@pytest.mark.parametrize("page, names", [("README.md", {"headline"}), ("docs/results.md", {"text8", "rivals"})])
def test_the_tables_of_a_page_are_those_of_the_results(page, names):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\S+) -->", text)) == names
    assert with_tables(text, RESULTS) == text


def test_the_table_of_speed_is_that_of_the_results():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    tables = dict(re.findall(r"<!-- table: (\S+) -->\n(.*?)\n<!-- end -->", page, re.DOTALL))
    speed = runpy.run_path(str(ROOT / "benchmarks" / "speed.py"))["table"]
    assert tables["speed"] == speed(json.loads((RESULTS / "speed.json").read_text()))


def test_the_reports_are_those_of_the_results():
    for page in PAGES:
        assert (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") == report(RESULTS, page)
    for name in STUDIES:
        written = (ROOT / "docs" / "studies" / f"{name}.md").read_text(encoding="utf-8")
        assert written == study_page(RESULTS, open_study(name))
    assert (ROOT / "docs" / "lab-book.md").read_text(encoding="utf-8") == lab_book(RESULTS)


def test_the_page_of_speed_has_what_was_measured_on_cards():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert card.with_tables(page, RESULTS / "gpu") == page
    assert card.tables(RESULTS / "gpu") in page


def test_a_changed_number_is_noticed(tmp_path):
    text = "<!-- table: text8 -->\nold\n<!-- end -->"
    assert with_tables(text, tmp_path) == text  # no results, nothing to put there
    result = {"rows": [], "floors": {"unigram": 4.1, "bigram": 3.4321}}
    entry = {**dict.fromkeys(ENTRY), "scale": "cpu", "result": result}
    (tmp_path / "text8.json").write_text(json.dumps({"cpu": entry}))
    assert with_tables(text, tmp_path).count("3.432") == 1
    assert "old" not in with_tables(text, tmp_path)
