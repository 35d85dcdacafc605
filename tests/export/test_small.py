"""The export `small`: a run in 8 bits, which says the same but for thousandths of a bit."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import inn
from inn.export.base import export
from inn.runs.directory import Run
from inn.runs.load import checkpoint_of
from inn.system.errors import InputError


def test_it_is_a_run_in_8_bits(run, tmp_path):
    said = export(run, tmp_path / "small", to="small")
    small, full, here = Run(tmp_path / "small"), inn.load(run), inn.load(tmp_path / "small")
    stored = load_file(checkpoint_of(small) / "model.safetensors")
    assert any(t.dtype == torch.int8 for t in stored.values())
    for name, t in full.state_dict().items():
        assert (here.state_dict()[name] - t).abs().max() <= t.abs().max() / 254 + 1e-7, name
    assert here.vocabulary == full.vocabulary
    assert "do not publish it" in said[1]
    kept, all_ = here.experience[-1, "table"], full.experience[-1, "table"]
    assert torch.equal(kept, all_.where((all_ >= 0) & (all_ % 8 > 0), -1))
    assert 0 < (kept >= 0).sum() < (all_ >= 0).sum()
    assert (small.summary() or {})["best"] == (Run(run).summary() or {})["best"]
    assert "weights in 8 bits" in (small.path / "README.md").read_text()


def test_what_is_recalled_goes_along_or_not(run, tmp_path):
    export(run, tmp_path / "none", to="small", experience="none")
    export(run, tmp_path / "all", to="small", experience="all")
    assert inn.load(tmp_path / "none").experience is None
    assert torch.equal(inn.load(tmp_path / "all").experience[-1, "table"], inn.load(run).experience[-1, "table"])
    with pytest.raises(InputError, match=r"small\.experience must be all, proven or none, not 'some'"):
        export(run, tmp_path / "some", to="small", experience="some")
