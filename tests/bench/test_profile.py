"""`inn bench --profile`: what is timed, what its bound is made of, and how it is told."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inn.cli.main import main
from inn.ops import selective_scan
from inn_benchmarks import profile, rates
from inn_benchmarks.profile_table import page, shares, text
from inn_benchmarks.rows import PROFILED
from inn_benchmarks.scan import ScanSize, scan_inputs

UNIT = rates.Rates({"float32": 1.0, "bfloat16": 1.0}, {0: 1.0}, 1.0)
MACHINE = {"side": 16, "sizes": (1 << 10, 1 << 12), "sample": 1e-4, "rounds": 1}
STACK = {"batch": 2, "length": 6, "model": {"width": 16, "layers": 2}}


def counted(machine: rates.Rates, work) -> dict:
    timed = profile.Profile(machine)
    with timed.watching():
        work()
    return timed.found


def test_a_product_is_bound_by_its_flops_and_told_by_phase():
    x, w = torch.randn(8, 16), torch.randn(16, 4, requires_grad=True)
    found = counted(UNIT, lambda: (x @ w).sum().backward())
    assert found["forward", "aten::mm", "8x16 16x4"]["bound"] == 2 * 8 * 16 * 4
    assert found["backward", "aten::mm", "16x8 8x4"]["bound"] == 2 * 8 * 16 * 4
    assert found["forward", "aten::mm", "8x16 16x4"]["by"] == {"products": 1024.0}


def test_what_an_optimiser_calls_is_the_update():
    w = torch.randn(5, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)
    w.grad = torch.ones(5)
    assert {key[0] for key in counted(UNIT, optimizer.step)} == {"update"}


def test_bytes_are_those_in_memory():
    x = torch.randn(10)
    add = counted(UNIT, lambda: x + torch.ones(1).expand(10))
    assert add["forward", "aten::add", "10 10"]["bound"] == 4 * (10 + 1 + 10)
    assert counted(UNIT, lambda: x.add_(1.0))["forward", "aten::add_", "10"]["bound"] == 4 * 20
    assert counted(UNIT, lambda: x.view(2, 5))["forward", "aten::view", "10"]["bound"] == 0
    table = torch.randn(1000, 4)
    looked_up = counted(UNIT, lambda: F.embedding(torch.tensor([1, 2]), table))
    assert looked_up["forward", "aten::embedding", "1000x4 2"]["bound"] == 2 * 4 * 8


def test_a_scan_is_bound_by_its_exponentials():
    given = [t.detach() for t in scan_inputs(ScanSize(2, 3, 1, 4, 5))]
    slow = rates.Rates({"float32": 1e9}, {0: 1e9}, 1.0)
    found = counted(slow, lambda: selective_scan(*given))
    (entry,) = (e for key, e in found.items() if key[1] == "inn::selective_scan_fwd")
    assert entry["bound"] == 2 * 3 * 4 * (5 + 2)
    assert dict(entry["by"]) == {"exponentials": entry["bound"]}


@pytest.mark.parametrize("row", PROFILED)
def test_a_profile_adds_up_and_is_told(row):
    size = {"model": {"width": 16, "layers": 2}, "symbols": 2}
    if row != "peers-generate":
        graph = {"neurons": 2, "width": 8, "rounds": 1, **({"heads": 2} if row == "paper-step" else {})}
        size = {**STACK, **({} if row == "gemm-share" else {"model": graph})}
    found = profile.profile(row, MACHINE, rounds=2, **size)
    assert found["threads"] == torch.get_num_threads()
    assert {op["phase"] for op in found["ops"]} == ({"forward"} if row == "peers-generate" else set(profile.PHASES))
    assert sum(share for share, _ in shares(found).values()) == pytest.approx(1.0)
    lines = text(row, found).splitlines()
    assert lines[0].startswith(f"{row}: ")
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("between them") for line in lines)
    assert f"| {found['machine']['cpu']} | `{row}` |" in page({found["machine"]["cpu"]: {row: found}})


def test_rows_that_are_no_step_cannot_be_profiled(capsys):
    assert main(["bench", "--profile", "--only", "page"]) == 2
    assert "--profile knows no row page; it knows: gemm-share" in capsys.readouterr().err
