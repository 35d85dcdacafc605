"""The studies of stability, identity, gap, gate, samples and roles from the command line, at the smallest scale."""

import json

import pytest

from inn.cli import main
from inn.studies import open_study

NAMES = ("stability", "identical", "gap", "gate", "samples", "neurons")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("studies")  # one folder of runs, shared as people share it


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke(name, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.delenv("INN_DATA", raising=False)
    assert main(["study", name, "--scale", "smoke", "--workers", "1", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    study = open_study(name)
    assert study.table(entry["result"]).count("| --- |") >= 1
    assert study.verdicts(entry["result"])
    assert json.loads((place / f"runs/studies/smoke/{name}.json").read_text())["smoke"]["result"] == entry["result"]
    # what is there is not trained again
    assert main(["study", name, "--scale", "smoke", "--workers", "1"]) == 0
    shown = capsys.readouterr()
    assert "trained" not in shown.err
    assert study.question in shown.out
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert study.draw(entry["result"], figure) == (name != "samples")


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_is_written_down(name):
    sizes = open_study(name).sizes()
    assert list(sizes) == ["smoke", "cpu", "gpu"]
    assert "data.corpus" in sizes["smoke"].settings  # text that comes with the package
