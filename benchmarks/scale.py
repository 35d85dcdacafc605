"""Measure training in several processes of this machine, compare it with formulas, and write docs/scale.md's tables.

    python benchmarks/scale.py            # a few minutes on two cores that do nothing else
    python benchmarks/scale.py --show     # the tables of results/scale.json into the page; nothing is measured

Speed: the default model, the same global batch for all. Bytes: a small model in 2 and 4 processes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "results" / "scale.json", ROOT / "docs" / "scale.md"
SMALL = {"neurons": 8, "width": 16, "rounds": 4}
LARGE: dict[str, Any] = {"neurons": 16, "width": 256, "rounds": 12, "recall": {"kind": "last", "slots": 1 << 20}}
GPU = {"flops": 2e14, "near": 3e11, "far": 4e10, "per_node": 8, "hidden": 0.5}
ROWS, WINDOW = 32, 1024


def measure(effort: Any, model: dict[str, Any]) -> dict[str, Any]:
    """Symbols per second of each way, in turns, and bytes by collective."""
    from inn.system import provenance
    from inn_benchmarks.ddp import Workers
    from inn_benchmarks.measure import in_turns, spread
    from inn_benchmarks.steps import StepSize

    whole, half = StepSize(16, 256, model), StepSize(8, 256, model)
    with (
        Workers(whole, [1]) as one,
        Workers(whole, [2]) as threads,
        Workers(half, [1]) as rows,
        Workers(whole, [1, 1]) as ddp,
        Workers(whole, [1, 1], "fsdp") as fsdp,
    ):
        works = {"one": one.step, "threads": threads.step, "half": rows.step, "ddp": ddp.step, "fsdp": fsdp.step}
        times = in_turns({**works, "send": ddp.send}, effort)
    traffic = []
    for parallel in ("ddp", "fsdp"):
        for world in (2, 4):
            with Workers(StepSize(8, 16, SMALL), [1] * world, parallel) as group:
                group.step()
                traffic.append({"parallel": parallel, "world": world, "bytes": group.step()["traffic"]})
    device = torch.device("cpu")
    return {
        "command": "python benchmarks/scale.py",
        "model": model,
        "batch": 16,
        "window": 256,
        "seconds": spread(times),
        "traffic": traffic,
        "hardware": provenance.hardware(device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page by name, from what was measured and from the formulas."""
    from inn.config.models import INNConfig
    from inn_benchmarks.plan import Machine, cost, sizes_of
    from inn_benchmarks.traffic import volume

    t = {name: times["median"] for name, times in result["seconds"].items()}
    names = {
        "one": "1 process, 1 thread",
        "threads": "1 process, 2 threads",
        "ddp": "2 processes, 1 thread each, DDP",
        "fsdp": "2 processes, 1 thread each, FSDP",
    }
    symbols = result["batch"] * result["window"]
    speed = ["| how | symbols/s | to one thread | to two threads |", "| --- | ---: | ---: | ---: |"]
    for name, words in names.items():
        ratios = f"{t['one'] / t[name]:.2f} | {t['threads'] / t[name]:.2f}"
        speed.append(f"| {words} | {symbols / t[name]:,.0f} | {ratios} |")
    said = t["half"] + t["send"]
    speed += [
        "",
        f"Half the batch in one process takes {t['half']:.3f} s, an all-reduce of its gradients {t['send']:.3f} s: "
        f"by formula a DDP step takes at most {said:.3f} s, and it took {t['ddp']:.3f} s. Medians of "
        f"{result['seconds']['ddp']['n']} turns on {result['hardware']['cpu']}, {result['hardware']['cores']} cores, "
        f"torch {result['versions']['torch']}, commit {result['commit']}.",
    ]

    small = sizes_of(INNConfig(vocab=27, **SMALL))
    sent = ["| | processes | collective | counted | formula |", "| --- | ---: | --- | ---: | ---: |"]
    for row in result["traffic"]:
        formula = volume(small.parameters, sum(small.rounds), row["parallel"])
        for name, n in sorted(row["bytes"].items()):
            sent.append(f"| {row['parallel']} | {row['world']} | {name} | {n:,} | {formula[name]:,} |")

    large, machine = sizes_of(INNConfig(vocab=256, **LARGE)), Machine(**GPU)
    plan = [
        f"{large.parameters / 1e6:,.0f} M parameters, {large.flops / 1e9:.2f} GFLOPs per symbol, "
        f"{large.stream / 2**20:,.0f} MiB of state per stream; {ROWS} streams of {WINDOW} symbols per GPU and step.",
        "",
        "| GPUs | | memory per GPU | sent per GPU and step | computing | sending | efficiency |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for world in (1, 8, 16, 64):
        for parallel in ("ddp", "fsdp") if world > 1 else ("ddp",):
            c = cost(large, world, ROWS, WINDOW, machine, parallel)
            cells = (
                f"{c.memory / 2**30:.1f} GiB", f"{c.sent / 1e9:.2f} GB", f"{1e3 * c.computing:.0f} ms",
                f"{1e3 * c.sending:.0f} ms", f"{c.efficiency:.0%}",
            )  # fmt: skip
            plan.append(f"| {world} | {parallel if world > 1 else ''} | {' | '.join(cells)} |")
    return {"speed": "\n".join(speed), "sent": "\n".join(sent), "plan": "\n".join(plan)}


def page(text: str, found: dict[str, str]) -> str:
    """A page with the tables in their places, each between `<!-- table: NAME -->` and `<!-- end -->`."""

    def put(match: re.Match[str]) -> str:
        return f"{match[1]}{found[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", put, text, flags=re.DOTALL)


def main() -> int:
    from inn_benchmarks.measure import NORMAL, Effort

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--brief", action="store_true", help="few turns")
    args = parser.parse_args()
    if not args.show:
        result = measure(Effort(rounds=2, seconds=0, most=2) if args.brief else NORMAL, {})
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text(), tables(json.loads(RESULTS.read_text()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
