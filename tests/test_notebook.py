"""The notebook runs from its first cell to its last, and is committed without outputs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("examples/*.ipynb"))


def has_hf() -> bool:
    """Whether a model can be exported here."""
    return find_spec("inn.hf") is not None and find_spec("transformers") is not None


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_holds_no_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    if not has_hf():
        notebook.cells = [cell for cell in notebook.cells if "needs-hf" not in cell.metadata.get("tags", [])]
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "work"
    folder.mkdir()
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(folder)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kinds = [[o.output_type for o in cell.outputs] for cell in code]
    assert kinds[0] == ["stream"]
    assert sum("display_data" in kind for kind in kinds) == 3  # the curve, who hears whom, the lesions
    assert (folder / "runs" / "notebook" / "summary.json").is_file()
    if has_hf():
        assert (folder / "notebook-export" / "model.safetensors").is_file()
