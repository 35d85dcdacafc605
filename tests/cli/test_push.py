"""`inn push --dry-run`: what would be uploaded, without a network or a token."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("huggingface_hub")


def test_a_dry_run_lists_what_would_go_and_sends_nothing(inn, trained):
    pytest.importorskip("inn.hf.export")
    result = inn("push", trained, "somebody/small", "--dry-run", "--json")
    assert result.code == 0, result
    facts = json.loads(result.out)
    assert {"config.json", "model.safetensors", "README.md"} <= set(facts["files"])
    assert facts["bytes"] == sum(facts["files"].values())
    assert (facts["url"], facts["public"]) == (None, False)
    said = inn("push", trained, "somebody/small", "--dry-run").out
    assert "model.safetensors" in said
    assert "to 'somebody/small' (private if it is made); nothing was" in said


def test_mistakes_are_one_sentence(refused, trained, tmp_path):
    assert "cannot be the name of a repository" in refused("push", trained, "a/b/c", "--dry-run")
    assert "'nowhere' is not a run" in refused("push", "nowhere", "a/b", "--dry-run")
    assert "REPO is missing" in refused("push", trained)
    (tmp_path / "config.json").write_text('{"text": "/home/somebody/text.txt"}')
    (tmp_path / "model.safetensors").touch()
    assert "'config.json' names a folder of this machine" in refused("push", tmp_path, "a/b", "--dry-run")
