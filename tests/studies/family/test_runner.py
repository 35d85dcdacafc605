"""`inn study family`: entries are judged by their numbers, kept in one file, shown on one page; one runs end to end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from inn.cli.main import main
from inn.system.errors import InputError
from inn_studies.family import ENTRIES, open_entry
from inn_studies.family.entry import Criterion, Entry, mean, row, trained
from inn_studies.family.report import answer, page
from inn_studies.family.results import entries, read, write
from inn_studies.results import ENTRY, unfinished
from inn_studies.where import harness

ROOT = Path(__file__).parents[3]


class Made(Entry):
    """An entry with a run of two steps, and a control."""

    number, title, source, home, control = 98, "A made-up one", "*A paper*", "nowhere", "a model that is worse"
    claim = "it is better."

    def measure(self, lab, size, seeds):
        tests = {"parity": harness.Test({"examples": size.of(10, 100)})}
        track = harness.Track("made", "task:parity", 2, 4, {"length": 8}, tests)
        models = {"graph": {"kind": "inn", "neurons": 1, "width": 4}, "LSTM": {"kind": "lstm", "width": 4}}
        rows = trained(lab, track, models, size, seeds, rates=(1e-3, 1e-2), controls=["LSTM"])
        return {"rows": [*rows, row("chance", {"parity": [0.5]}, control=True)]}

    def criteria(self, result):
        value = mean(result, "graph", "parity")
        return [
            Criterion.of("length", "≥ 0.25", f"{value:.2f}", value >= 0.25),
            Criterion.of("lead", "≥ control + 0.5", f"{value:.2f}", value >= mean(result, "LSTM", "parity") + 0.5),
        ]

    def found(self, result):
        return "it is not."


class Missing(Made):
    """One whose data is not there."""

    number, title = 99, "A missing one"

    def measure(self, lab, size, seeds):
        raise InputError("the data is not there; get it")


@pytest.fixture
def made(monkeypatch) -> Iterator[None]:
    module = ModuleType("inn_studies.family.made")
    module.Made, module.Missing = Made, Missing  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = dict(ENTRIES)  # put back in their order, which is the page's
    ENTRIES.clear()
    ENTRIES.update({98: "made:Made", 99: "made:Missing"})
    yield
    ENTRIES.clear()
    ENTRIES.update(known)


def kept(rows: list[dict], scale: str = "cpu", skipped: str = "") -> dict:
    return {
        **dict.fromkeys(ENTRY), "command": "inn study family --only 98", "scale": scale, "seeds": 1,
        "hardware": {"cpu": "a processor"}, "versions": {"torch": "2"}, "result": {"skipped": skipped, "rows": rows},
    }  # fmt: skip


def rows(ours: float, theirs: float) -> list[dict]:
    return [row("graph", {"parity": [ours]}), row("LSTM", {"parity": [theirs]}, control=True)]


def test_a_verdict_is_yes_only_where_all_criteria_are_met():
    yes, no, open_ = (Criterion.of("a", "1", "1", met) for met in (True, False, None))
    assert answer([yes, yes]) == "yes"
    assert answer([yes, no, open_]) == "no (1 of 3 met)"
    assert answer([yes, open_]) == "undecided (1 of 2 met)"
    assert answer([]) == "skipped"


def test_the_page_says_first_what_failed(made, tmp_path):
    write(tmp_path, 98, kept(rows(0.9, 0.6)))
    write(tmp_path, 99, kept([], skipped="the data is not there"))
    text = page(tmp_path)
    assert "Of 2 entries: 1 no, 1 skipped. What failed: 98 (A made-up one)." in text
    assert "| [98](#98-a-made-up-one) | A made-up one | nowhere | lead: 0.90 (goal ≥ control + 0.5) |" in text
    assert "**no (1 of 2 met)**. Not met: lead, 0.90. Met: length, 0.90. After *A paper*, which says: it" in text
    assert "| LSTM *(control)* | – | – | – | 0.600 |" in text
    assert "**skipped**. Skipped: the data is not there." in text
    write(tmp_path, 98, kept(rows(0.9, 0.1)))
    assert "Of 2 entries: 1 yes, 1 skipped." in page(tmp_path)


def test_an_entry_that_is_run_leaves_the_others_as_they_are(made, tmp_path):
    write(tmp_path, 99, kept([], skipped="no"))
    for number in (98, 99):
        unfinished(f"family-{number}", tmp_path, "cpu").touch()
    write(tmp_path, 98, kept(rows(0.9, 0.1), "smoke"))
    assert (tmp_path / "family-98.part.jsonl").exists()
    write(tmp_path, 98, kept(rows(0.8, 0.1)))
    assert [path.name for path in tmp_path.glob("*.part.jsonl")] == ["family-99.part.jsonl"]
    found = read(tmp_path)
    assert {number: list(scales) for number, scales in found.items()} == {"98": ["smoke", "cpu"], "99": ["cpu"]}
    assert entries(tmp_path, [98])[98]["scale"] == "cpu"  # the largest
    with pytest.raises(InputError, match="no such results of entry 99; run inn study family --only 99"):
        entries(tmp_path, [99], "smoke")


def test_a_file_that_is_damaged_or_of_another_version_is_refused(made, tmp_path):
    write(tmp_path, 98, kept(rows(0.9, 0.1)))
    path = tmp_path / "family.json"
    path.write_text(path.read_text().replace('"model"', '"mode"'))
    with pytest.raises(InputError, match="entry 98 was changed, or is another version's"):
        page(tmp_path)
    path.write_text(json.dumps({"98": {"cpu": {"command": "inn"}}}))
    with pytest.raises(InputError, match="entry 98 at scale 'cpu' has no scale"):
        read(tmp_path)


def test_an_entry_runs_from_end_to_end_and_is_shown(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "family", "--scale", "smoke"]) == 0
    assert "| [98](#98-a-made-up-one) | A made-up one |" in capsys.readouterr().out
    one = read(tmp_path / "runs" / "studies" / "smoke")["98"]["smoke"]
    graph, lstm, chance = one["result"]["rows"]
    assert (graph["control"], lstm["control"], chance["control"]) == (False, True, True)
    assert graph["data"]
    assert graph["settings"] == {"kind": "inn", "neurons": 1, "width": 4}
    assert graph["task"] == {"data.corpus": "task:parity", "data.task.length": 8, "data.task.examples": 10}
    assert list(graph["sweep_valid"]) == ["0.001"]
    assert main(["study", "family", "--only", "98", "--scale", "smoke"]) == 0
    out, err = capsys.readouterr()
    assert "train_and_score" not in err  # what is done is not done again
    assert "Found: it is not." in out
    shown = ["study", "family", "--only", "98", "--show", "--results", "runs/studies/smoke"]
    assert main(shown) == 0
    assert capsys.readouterr().out == out
    assert main([*shown, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["98"]
    assert [c["id"] for c in told["criteria"]] == ["length", "lead"]
    assert told["verdict"] == "undecided (0 of 2 met)"  # the smallest scale decides nothing


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--only", "7"], "there is no entry 7; there are 98, 99"),
        (["--only", "elm"], "--only takes numbers"),
        (["--scale", "gpu"], "--scale cannot be 'gpu'"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--show", "--seeds", "2"], "--show runs nothing"),
        (["--show"], "nothing is measured in 'results'"),
        (["--show", "--only", "98"], "run inn study family --only 98"),
        (["--report", "--only", "98"], "--report covers all entries"),
        (["--report"], "--report writes docs/family.md"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(given, sentence, made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "family", *given]) == 2
    assert sentence in capsys.readouterr().err


def test_the_page_is_that_of_the_results():
    assert (ROOT / "docs" / "family.md").read_text(encoding="utf-8") == page(ROOT / "results")


def test_every_entry_says_what_it_is():
    for number in ENTRIES:
        entry = open_entry(number)
        assert entry.number == number
        assert entry.claim.endswith(".")
        assert not entry.control.endswith(".")
        for said in (entry.title, entry.source, entry.home, entry.control):
            assert said


@pytest.mark.slow
@pytest.mark.parametrize("number", ENTRIES)
def test_every_entry_runs_at_the_smallest_scale(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "family", "--scale", "smoke", "--only", str(number)]) == 0
    assert f"| [{number}](#{number}-" in capsys.readouterr().out
