"""The runs of a folder: all of them, and what is damaged or no run is named and stops nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.data.vocabulary import build_vocabulary
from inn.runs.directory import Run
from inn.runs.listing import SORTS, ListedRun, arranged, draw_curves, list_runs, spark
from inn.system.errors import InputError


def make(path: Path, kind: str = "lstm", corpus: str = "pydoc", bits: float | None = 2.0, **summary) -> Run:
    """A run directory with a curve that ends at `bits`, and no model."""
    config = RunConfig(model_config(kind, vocab=256), DataConfig(corpus=corpus, vocabulary="bytes"), TrainConfig())
    run = Run.create(path, config, build_vocabulary("bytes"))
    run.log(event="train", step=10, symbols=100, loss=3.0, bits=4.0)
    if bits is not None:
        run.log(event="validation", step=10, nats=3.0, bits=bits + 1, count=50, best=True)
        run.log(event="validation", step=20, nats=2.0, bits=bits, count=50, best=True)
        best = {"step": 20, "bits": bits, "count": 50}
        run.write_summary(
            {"status": "finished", "best": best, "symbols": 200, "parameters": 7, "seconds": 90.0, **summary}
        )
    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    runs = tmp_path / "runs"
    for name, bits in (("a", 2.0), ("deep/er/b", 1.5), ("c", None)):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        make(runs / name, bits=bits)
    return runs


def test_every_run_is_found_with_what_it_reached(folder):
    listing = list_runs(folder)
    runs = {run.name: run for run in listing.runs}
    assert set(runs) == {"a", "deep/er/b", "c"}
    assert (listing.damaged, listing.foreign) == ({}, ())
    a = runs["a"]
    assert (a.kind, a.corpus, a.vocabulary, a.status, a.metric) == ("lstm", "pydoc", "bytes", "finished", "BPB")
    assert (a.parameters, a.symbols, a.minutes, a.bits, a.count) == (7, 200, 1.5, 2.0, 50)
    assert a.curve == ((100, 3.0), (200, 2.0))
    assert a.when is not None
    assert (runs["c"].status, runs["c"].bits, runs["c"].symbols, runs["c"].curve) == ("unfinished", None, 100, ())


def test_the_best_checkpoint_and_the_test_part_are_told_where_there_are_any(folder):
    run = folder / "a"
    (run / "checkpoints/step-00000020").mkdir()
    (run / "checkpoints/best.json").write_text('{"step": 20}')
    (run / "measured").mkdir()
    for count, bits in ((10, 9.0), (20, 2.5)):
        (run / f"measured/score-{count}.json").write_text(json.dumps({"split": "test", "count": count, "bits": bits}))
    (run / "measured/score-valid.json").write_text(json.dumps({"split": "valid", "count": 99, "bits": 1.0}))
    (run / "measured/score-broken.json").write_text("{")
    (found,) = list_runs(run).runs
    assert (found.name, found.checkpoint, found.test) == ("a", "step-00000020", 2.5)


DAMAGE = {
    "config.yaml": [b"", b"model: [", b"\xff\xfe", b"name: a foreign program's\n", b"- 1\n"],
    "summary.json": [b"{", b"[]", b"\xff", b'{"best": 3}'],
    "metrics.jsonl": [b"nonsense\n", b"\xff\xfe\n", b"[]\n"],
    "vocabulary.json": [b"", b"{}", b"\xff"],
}


@pytest.mark.parametrize("name, content", [(name, content) for name, cases in DAMAGE.items() for content in cases])
def test_a_damaged_run_is_named_with_its_reason_and_hides_no_other(folder, name, content):
    (folder / "a" / name).write_bytes(content)
    listing = list_runs(folder)
    assert {run.name for run in listing.runs} == {"deep/er/b", "c"}
    assert list(listing.damaged) == ["a"]
    assert listing.damaged["a"].count("\n") == 0


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "vocabulary.json"])
def test_a_run_that_lacks_a_file_is_damaged(folder, name):
    (folder / "a" / name).unlink()
    assert list(list_runs(folder).damaged) == ["a"]


def test_folders_without_runs_are_named_once(folder):
    (folder / "notes/old").mkdir(parents=True)
    (folder / "deep/empty").mkdir()
    (folder / ".hidden/config.yaml").mkdir(parents=True)
    (folder / "a" / "inside").mkdir()
    (folder / "link").symlink_to(folder / "a", target_is_directory=True)
    listing = list_runs(folder)
    assert set(listing.foreign) == {"notes", "deep/empty"}
    assert {run.name for run in listing.runs} == {"a", "deep/er/b", "c"}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        list_runs(tmp_path / "nowhere")


def listed(name: str, **fields) -> ListedRun:
    return ListedRun(
        name, Path(name), **{"kind": "inn", "corpus": "pydoc", "vocabulary": "bytes", "status": "finished", **fields}
    )


def test_runs_are_arranged():
    runs = [
        listed("a", bits=2.0, parameters=5, when="2024-01-02", minutes=1.0),
        listed("b", bits=1.0, corpus="text8", parameters=9, when="2024-01-03"),
        listed("c", bits=None, parameters=None, when=None, minutes=9.0),
        listed("d", bits=1.5, parameters=7, when="2024-01-01", minutes=2.0),
    ]

    def order(sort: str) -> str:
        return "".join(run.name for run in arranged(runs, sort))

    assert order("bits") == "dacb"  # text by text, the best first, what is not known last
    assert order("parameters") == "bdac"
    assert order("when") == "badc"
    assert order("minutes") == "cdab"
    assert order("name") == "abcd"
    for sort in SORTS:
        assert sorted(order(sort)) == list("abcd")
    with pytest.raises(InputError, match="cannot be sorted by 'size'"):
        arranged(runs, "size")


def test_sparks_share_a_scale():
    steep, flat = [(10, 4.0), (100, 2.0), (1000, 1.0)], [(10, 4.0), (100, 4.0)]
    assert spark(steep, flat, cells=3) == "█▅▁"
    assert spark(flat, steep, cells=3) == "██ "
    assert spark([], steep) == ""
    assert len(spark([(5, 1.0)])) == 12


def test_curves_are_drawn_a_panel_for_each_text(folder, tmp_path):
    pytest.importorskip("matplotlib")
    make(folder / "other", corpus="text8", bits=3.0)
    runs = list_runs(folder).runs
    for ending in ("png", "svg"):
        assert draw_curves(runs, tmp_path / "new" / f"curves.{ending}").stat().st_size > 5000
    svg = (tmp_path / "new/curves.svg").read_text()
    assert svg.count("<!-- pydoc, bytes -->") == svg.count("<!-- text8, bytes -->") == 1
    for name in ("a", "deep/er/b", "other"):
        assert f" {name} -->" in svg


def test_curves_that_cannot_be_drawn_are_refused(folder, tmp_path, monkeypatch):
    runs = list_runs(folder).runs
    with pytest.raises(InputError, match=r"give a name that ends in \.png"):
        draw_curves(runs, tmp_path / "curves.doc")
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no run has been validated yet"):
        draw_curves([replace(run, curve=()) for run in runs], tmp_path / "curves.png")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        draw_curves(runs, tmp_path / "file" / "curves.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"needs Matplotlib; install it: pip install 'inn-torch\[explore\]'"):
        draw_curves(runs, tmp_path / "curves.png")


def test_a_config_of_another_version_is_damaged_not_fatal(folder):
    path = folder / "a/config.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["model"]["kind"] = "unheard-of"
    path.write_text(yaml.safe_dump(tree))
    assert "unheard-of" in list_runs(folder).damaged["a"]
