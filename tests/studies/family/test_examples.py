"""The programs in `examples/` that entries measure run as programs, too, and say what they found."""

from __future__ import annotations

import pytest

from inn_studies.family.examples import example


@pytest.mark.parametrize(("name", "needs", "given", "lines"), [
    ("swimmer_mujoco", "mujoco", {"seeds": ()}, ["untrained: 1.09 body lengths; the worm 1.22"]),
    ("quantum", "pennylane", {"seeds": ()}, ["the simulation is off PennyLane by "]),
    ("population", "sklearn", {"seeds": (1,), "steps": 500, "updates": 1}, ["driven", "  seed 1: AUROC", "control"]),
    ("places", "torch", {"seeds": (0,), "regions": (2,)}, ["2 regions, 50 places: as learned 0."]),
])  # fmt: skip
def test_an_example_runs(name, needs, given, lines, capsys, monkeypatch):
    pytest.importorskip(needs, reason=f"{needs} is not installed; it comes with [fields] or [sklearn]")
    code = example(name, "of a test")
    if name == "places":
        monkeypatch.setattr(code, "PASSES", 1)
        monkeypatch.setattr(code, "ABOVE", (3.0,))
    code.main(**given)
    said = capsys.readouterr().out.splitlines()
    assert all(told.startswith(line) for told, line in zip(said, lines, strict=False))
    assert len(said) >= len(lines)
