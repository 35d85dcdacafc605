"""Objective `concentrate`: few neurons come to be asked; a run goes on; models without a mixture are refused."""

from __future__ import annotations

import pytest
from test_objectives import lines, stop_at, tensors

from inn.system.errors import InputError
from inn.training.trainer import fit

MIXTURE = {"router": {"kind": "mixture", "top": 2, "loss": "mi"}}


def test_the_entropy_falls_and_takes_the_place_of_the_routers_own_loss(tmp_path, tiny):
    config = tiny("inn", model=MIXTURE, objective={"kind": "concentrate", "entropy": 5.0}, lr=0.03)
    fit(config, tmp_path / "whole")
    told = [line for line in lines(tmp_path / "whole") if line["event"] == "train"]
    assert not any("penalty.mi" in line for line in told)
    assert told[-1]["penalty.concentrate"] < 0.9 * told[0]["penalty.concentrate"]
    fit(config, tmp_path / "run", report=stop_at(5))
    fit(None, tmp_path / "run", resume=True)
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")


def test_without_a_mixture_it_is_refused(tmp_path, tiny):
    with pytest.raises(InputError, match="no router 'mixture', whose choices could be concentrated"):
        fit(tiny("inn", objective="concentrate"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
