"""Groups of processes as the benchmark starts them, what they send, and the page that tells of it."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from inn.cli.commands import COMMANDS
from inn.config.models import INNConfig
from inn_benchmarks.ddp import Workers, ddp_2, model_of
from inn_benchmarks.plan import Machine, Model, cost, sizes_of
from inn_benchmarks.steps import StepSize
from inn_benchmarks.traffic import on_the_wire, volume

ROOT = Path(__file__).parents[2]
SMALL = StepSize(4, 16, {"neurons": 4, "width": 8, "rounds": 2, "state": 4, "slots": 64})
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_bytes_of_a_step_are_those_of_the_formula(parallel):
    model = model_of(SMALL)
    inside = sum(p.numel() for p in model.graph.rounds.parameters())
    with Workers(SMALL, [1, 1], parallel) as group:
        first, second = group.step(), group.step()
        group.send()
    formula = volume(model.num_parameters, inside, parallel)
    assert second["traffic"].keys() == formula.keys()
    for name, n in formula.items():
        assert n <= second["traffic"][name] <= 1.01 * n  # what two processes cannot halve is padded
    assert second["loss"] != first["loss"]
    assert second["loss"] < 3.5


@pytest.mark.slow
@pytest.mark.loopback
def test_ddp_2(toy):
    measured = ddp_2(SMALL, toy)
    seconds = measured.details["seconds"]
    assert measured.ratio == pytest.approx(seconds["one"]["median"] / seconds["ddp"]["median"])
    assert measured.details["gradient_bytes"] == 4 * model_of(SMALL).num_parameters
    json.dumps(measured.details)


def test_volumes():
    assert volume(100, 60, "ddp", accumulate=8) == {"all-reduce": 400}
    assert volume(100, 60, "fsdp", accumulate=2) == {"all-gather": 1280, "reduce-scatter": 400}
    assert on_the_wire({"all-gather": 800, "reduce-scatter": 400}, 4) == 900
    assert on_the_wire(volume(100, 60, "ddp"), 1) == 0


def test_costs():
    model = Model(1000, (200, 300), 6e3, 50)
    gpu = Machine(flops=1e6, near=1e4, far=1e3, per_node=2, hidden=0.5)
    one, two, four = (cost(model, world, 2, 10, gpu) for world in (1, 2, 4))
    assert one.memory == two.memory == 16_000 + 2 * 2 * 50
    assert (one.sending, two.sending, four.sending) == (0, 0.4, 6.0)
    assert one.computing == 0.12
    assert two.efficiency == pytest.approx(0.12 / (0.12 + 0.32))  # the backward pass, 0.08 s, hides no more than itself
    assert four.efficiency < two.efficiency < one.efficiency == 1
    assert cost(model, 4, 2, 10, gpu, "fsdp").memory == 4_000 + 4 * (500 + 600) + 200
    sizes = sizes_of(INNConfig(vocab=27, neurons=2, width=8, rounds=3, recall={"kind": "last", "slots": 64}))
    real = model_of(StepSize(1, 1, {"neurons": 2, "width": 8, "rounds": 3, "slots": 64}))
    assert sizes.parameters == real.num_parameters
    assert sizes.stream == real.initial_state(1).bytes
    assert sizes.flops == real.training_flops


def test_the_tables_of_the_page_are_those_of_the_results():
    scale = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
    result = json.loads((ROOT / "results" / "scale.json").read_text())
    found = scale["tables"](result)
    assert found.keys() == set(re.findall(r"<!-- table: (\w+) -->", PAGE))
    assert scale["page"](PAGE, found) == PAGE


def lines() -> list[list[str]]:
    """What follows `inn` in every command of the page."""
    blocks = re.findall(r"^```sh parsed\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    words = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [line[line.index("inn") + 1 :] for line in words]


@pytest.mark.parametrize("argv", lines(), ids=" ".join)
def test_the_commands_of_the_page_parse(argv):
    COMMANDS[argv[0]].parse(argv[1:])


def test_the_script_for_slurm():
    script = (ROOT / "docs" / "slurm.sh").read_text()
    assert "-m -- inn" in script  # torchrun would take --run for its own
    options = re.findall(r"--(?:nnodes|nproc-per-node|max-restarts|rdzv-backend|rdzv-endpoint|rdzv-id)", script)
    from torch.distributed.run import get_args_parser

    known = {option for action in get_args_parser()._actions for option in action.option_strings}
    assert len(options) == 6
    assert set(options) <= known
