"""What is kept of a study, and what is refused."""

from __future__ import annotations

import json

import pytest

from inn.system.errors import InputError
from inn_studies import open_study, results
from inn_studies.report import report, study_page
from inn_studies.study import Study, Verdict


class One(Study):
    """A study whose result is a number."""

    name, source, question = "text8", "nowhere", "How many?"

    def sizes(self):
        return {}

    def run(self, lab, size, seeds):
        return {"value": seeds}

    def table(self, result):
        return f"value {result['value']}"

    def draw(self, result, figure):
        figure.subplots().plot([0, result["value"]])
        return True

    def verdicts(self, result):
        return [Verdict("one", "1 (Table 0)", str(result["value"]), "reproduced", "it is")]


def entry(scale: str = "cpu", value: float = 1.0) -> dict:
    return {
        "command": f"inn study text8 --scale {scale}", "scale": scale, "seeds": 1, "commit": "abc",
        "hardware": {"cpu": "a cpu", "cores": 2}, "versions": {"torch": "2"}, "result": {"value": value},
    }  # fmt: skip


def test_scales_are_kept_side_by_side_and_the_largest_is_shown(tmp_path):
    for scale, value in (("cpu", 1.0), ("gpu", 2.0), ("cpu", 3.0)):
        path = results.write(One(), tmp_path / "new" / "folder", entry(scale, value))
    kept = results.read(One(), tmp_path / "new" / "folder")
    assert {scale: e["result"]["value"] for scale, e in kept.items()} == {"cpu": 3.0, "gpu": 2.0}
    assert path.name == "text8.json"
    assert (results.largest(kept) or {})["scale"] == "gpu"
    assert results.largest({}) is None
    assert results.read(One(), tmp_path) == {}


def test_a_figure_is_drawn_beside(tmp_path):
    pytest.importorskip("matplotlib")
    results.write(One(), tmp_path, entry())
    assert (tmp_path / "text8.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_that_are_none_are_not_written(tmp_path):
    with pytest.raises(ValueError):
        results.write(One(), tmp_path, entry(value=float("nan")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"cpu": "result"}', '{"cpu": {"result": {}}}', '{"cpu": []}', '{"cpu": null}', b"\xff"],
)
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "text8.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"is not a results file of a study .*; restore it") as caught:
        results.read(One(), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is not a results file"):
        results.check(One(), tmp_path)
    with pytest.raises(InputError, match="is not a results file"):
        results.write(One(), tmp_path, entry())


def test_a_result_of_another_version_is_one_sentence():
    with pytest.raises(InputError, match=r"scale cpu was changed.*KeyError: 'value'.*run it again: inn study text8"):
        results.tell(One(), {**entry(), "result": {}})


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write"):
            results.check(One(), folder)


def test_the_report_has_every_study_measured_or_not(tmp_path):
    text = report(tmp_path)
    assert text.count("*Not measured yet.*") == text.count("](studies/") > 1
    assert "`inn study text8 --scale cpu` does it" in study_page(tmp_path, open_study("text8"))


def test_the_report_is_the_results(tmp_path, monkeypatch):
    monkeypatch.setattr("inn_studies.report.open_study", lambda name: One() if name == "text8" else open_study(name))
    results.write(One(), tmp_path, entry(value=5.0))
    assert "| one | 1 (Table 0) | 5.0 | **reproduced** | [text8](studies/text8.md) |" in report(tmp_path)
    text = study_page(tmp_path, One())
    assert text.startswith("# text8: nowhere\n\nHow many? ([all studies](../reproduction.md))\n\nvalue 5.0\n")
    assert "| one | 1 (Table 0) | 5.0 | **reproduced** | it is |" in text
    assert "`inn study text8 --scale cpu`, 1 seed; commit abc; a cpu, 2 cores; torch 2." in text
    kept = json.loads((tmp_path / "text8.json").read_text())
    kept["cpu"]["result"] = {}
    (tmp_path / "text8.json").write_text(json.dumps(kept))
    with pytest.raises(InputError, match="was changed"):
        report(tmp_path)
