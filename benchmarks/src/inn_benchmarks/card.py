"""What needs a GPU, all of it in one go: `python -m inn_benchmarks.card`, which `benchmarks/gpu.sh` calls.

First whether the kernels compute what they should, then what they reach. Every part has a time limit and is a process
of its own; what is done is kept after each part, and only what is missing is run the next time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from inn.system.device import good_threads
from inn.system.files import replace_file
from inn.system.provenance import commit, hardware, versions
from inn_benchmarks import gpu
from inn_benchmarks.measure import Effort
from inn_benchmarks.rows import ROWS, Measured, number
from inn_benchmarks.run import Broken, call, environ, finished, run_rows
from inn_benchmarks.scan import ScanSize
from inn_benchmarks.steps import StepSize

ROOT = Path(__file__).resolve().parents[3]
RESULTS = Path("results/gpu")
PAGE = Path("docs/speed.md")
TESTS = [f"tests/ops/{name}.py" for name in ("test_triton", "test_contexts_triton")]
MINUTES = 11.5
"""For everything; a part that there is no time for is run the next time."""
NOT_MEASURED = "Not measured yet; `benchmarks/gpu.sh` does it on a machine with one CUDA card, in at most 12 minutes."
_START = 15.0  # seconds of a part's limit that go by before its work begins
_PATIENCE = 5  # times a part's limit, in a dry run: an interpreter on a busy machine is slow
_TOY = Effort(rounds=1, seconds=0.0, most=1, sample=0.0, product=16)
_SMALL = {"neurons": 2, "width": 8, "rounds": 1}
_STACK = {"width": 16, "layers": 1}

TINY: dict[str, dict[str, Any]] = {
    "gpu-paper": {"size": gpu.GPUSize(4, (1, 2), {**_SMALL, "heads": 2, "dt_rank": 2}), "effort": _TOY},
    "gpu-ops": {"size": ScanSize(1, 3, 2, 8, 4), "effort": _TOY},
    "gpu-loop": {"size": ScanSize(1, 2, 1, 3), "effort": _TOY},
    "gpu-step": {"size": StepSize(2, 6, _SMALL), "effort": _TOY},
    "gpu-generate": {"size": StepSize(2, 1, _SMALL), "effort": _TOY},
    "gpu-compile": {"size": StepSize(2, 6, {**_SMALL, "recall": "none"}), "effort": _TOY, "backend": "aot_eager"},
    "gpu-memory": {"size": StepSize(4, 64, _STACK)},
}
"""Rows as a dry run measures them: on the CPU, kernels in Triton's interpreter, so that numbers mean nothing."""


@dataclass(frozen=True)
class Part:
    """A part: its limit in seconds, and what it calls with what is left of that."""

    limit: float
    run: Callable[[float, bool], dict[str, Any]]


def _check(target: str, **arguments: Any) -> Callable[[float, bool], dict[str, Any]]:
    def run(seconds: float, dry: bool) -> dict[str, Any]:
        given = {"device": "cpu" if dry else "cuda", "seconds": max(1.0, seconds - _START), **arguments}
        if "name" in given:
            given["sizes"] = "small" if dry else "full"
        found = call(f"inn_benchmarks.checks:{target}", given, threads=good_threads(), seconds=seconds)
        enough = found["complete"] and found["cases"] > 0
        status = "failed" if found["failures"] else "passed" if enough else "incomplete"
        return {"status": status, "found": found}

    return run


def _row(name: str) -> Callable[[float, bool], dict[str, Any]]:
    def run(seconds: float, dry: bool) -> dict[str, Any]:
        targets = {name: ("inn_benchmarks.card:tiny", {"row": name})} if dry else {}
        found = run_rows([name], good_threads(), seconds=seconds, targets=targets)[name]
        status = "broke" if found["error"] else "skipped" if found["skipped"] else "measured"
        return {"status": status, "found": found}

    return run


def tiny(row: str) -> Measured:
    """A row at a size for a dry run."""
    function = getattr(gpu, ROWS[row].run.partition(":")[2])
    return function(**TINY[row], device="cpu")


def _tests(seconds: float, dry: bool) -> dict[str, Any]:
    """The tests of the kernels, where pytest and hypothesis are here."""
    if missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        return {"status": "skipped", "found": {"said": f"{' and '.join(missing)} are not installed"}}
    only = ["-k", "compiles_without_a_graph_break and conv"] if dry else ["-m", "not slow"]
    # without the repository's settings, which need further packages
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull]
    command += [f"--rootdir={ROOT}", "--import-mode=importlib", "-W", "ignore", "-x", *only]
    command += [str(ROOT / path) for path in TESTS]
    code, out, said = finished(command, environ(good_threads()), seconds)
    lines = [line for line in (out + said).splitlines() if line.strip()]
    status = {0: "passed", None: "incomplete"}.get(code, "failed")
    return {"status": status, "found": {"said": lines[-1:] if code == 0 else lines[-40:]}}


_LISTED = {"listed attention": 30, "listed sums": 15, "listed scores": 15, "listed messages": 25}

PARTS: dict[str, Part] = {
    **{
        f"check {name}": Part(limit, _check("check_op", name=name))
        for name, limit in {"scan": 90, "conv": 60, "attention": 70, "linear": 45, "norm": 30, **_LISTED}.items()
    },
    **{
        f"check loop {cell}": Part(30, _check("check_op", name=f"loop {cell}"))
        for cell in ("elman", "gru", "lstm", "slstm")
    },
    "check step": Part(40, _check("check_step")),
    "check recall": Part(40, _check("check_recall")),
    "check models": Part(100, _check("check_models")),
    **{
        name: Part(limit, _row(name))
        for name, limit in {
            "gpu-ops": 90, "gpu-loop": 60, "gpu-step": 60, "gpu-paper": 70, "gpu-generate": 40, "gpu-compile": 100,
            "gpu-memory": 40,
        }.items()
    },
    "tests": Part(180, _tests),
}  # fmt: skip
"""In their order, with limits that are rarely needed: what is right first, then what is fast, then the same tests as
on the CPU."""
DONE = ("passed", "failed", "measured")
"""How a part ends that is not run again, the commit and the machine being the same."""


def header(dry: bool) -> dict[str, Any]:
    """What makes results comparable: commit, versions and hardware."""
    device = torch.device("cpu" if dry else "cuda")
    found = {"triton": None, "cuda": torch.version.cuda}
    if find_spec("triton"):
        import triton

        found["triton"] = triton.__version__
    return {
        "dry": dry,
        "commit": commit() or os.environ.get("INN_COMMIT"),
        "versions": {**versions(), **found},
        "hardware": hardware(device),
    }


def file_of(folder: Path, head: Mapping[str, Any]) -> Path:
    """The results file of a card: named after it."""
    words = re.findall(r"[a-z0-9]+", head["hardware"].get("gpu", "dry").lower())
    return folder / f"{'-'.join(words)}.json"


def kept(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a results file that came of the same commit, versions and hardware; empty where there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    same = all(found.get(name) == value for name, value in json.loads(json.dumps(head)).items())
    return {name: part for name, part in found["parts"].items() if part["status"] in DONE} if same else {}


def run_parts(
    folder: Path,
    dry: bool,
    minutes: float = MINUTES,
    parts: Mapping[str, Part] = PARTS,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run what is missing and return the whole result, which the folder's file has too."""
    head, until = header(dry), time.monotonic() + 60 * minutes
    path = file_of(folder, head)
    done = kept(path, head)
    result: dict[str, Any] = {}
    for name, part in parts.items():
        start = time.monotonic()
        left = min(part.limit * (_PATIENCE if dry else 1), until - start)
        if name in done:
            say(f"{name}: {done[name]['status']} before")
        elif left < _START:
            done[name] = {"status": "no time", "limit": part.limit, "seconds": 0.0, "found": {}}
        else:
            try:
                done[name] = part.run(left, dry)
            except Broken as error:
                done[name] = {"status": "broke", "found": {"error": str(error), "said": error.said}}
            done[name] |= {"limit": part.limit, "seconds": round(time.monotonic() - start, 1)}
            say(f"{name}: {done[name]['status']}, {done[name]['seconds']:.0f} s")
        result = {**head, "command": "benchmarks/gpu.sh", "parts": {n: done[n] for n in parts if n in done}}
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


def said(name: str, part: Mapping[str, Any]) -> str:
    """What a part came to, in a few words."""
    found = part["found"]
    if name in ROWS and part["status"] == "measured":
        return f"{number(found['ratio'], found['unit'])} {found['sizes']}"
    if part["status"] in ("passed", "failed", "incomplete") and "cases" in found:
        worst = max(found["worst"].items(), key=lambda item: item[1], default=("nothing", 0.0))
        wrong = f"; {found['failures']} wrong: {found['wrong'][0]}" if found["wrong"] else ""
        return f"{found['cases']:,} cases, largest error {worst[1]:.2g} of the tolerance ({worst[0]}){wrong}"
    last = found.get("said") or ""
    return str(found.get("error") or found.get("skipped") or (last if isinstance(last, str) else "".join(last[-1:])))


def table(result: Mapping[str, Any]) -> str:
    """All parts as Markdown, and where they were run."""
    lines = ["| part | | result | seconds |", "| --- | --- | --- | ---: |"]
    for name, part in result["parts"].items():
        what = f"`{name}`" if name in ROWS else name
        lines.append(f"| {what} | {part['status']} | {said(name, part).replace('|', '/')} | {part['seconds']:.0f} |")
    machine, made = result["hardware"], result["versions"]
    where = f"{machine.get('gpu') or machine['cpu']}, torch {made['torch']}, Triton {made['triton']}"
    return "\n".join([*lines, "", f"Measured on {where}, commit {result['commit'] or 'not known'}."])


def tables(folder: Path) -> str:
    """What `docs/speed.md` says of the cards in a folder of results."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return "\n\n".join(table(result) for result in results if not result["dry"]) or NOT_MEASURED


def with_tables(text: str, folder: Path) -> str:
    """A page with the tables in their place, from `<!-- table: gpu -->` to `<!-- end -->`."""
    put = lambda found: f"{found[1]}{tables(folder)}\n{found[2]}"  # noqa: E731
    return re.sub(r"(<!-- table: gpu -->\n).*?(<!-- end -->)", put, text, flags=re.DOTALL)


def main(argv: list[str] | None = None) -> int:
    """Returns 0 where all that ran is right, 1 where a part failed or is missing, 2 without a card."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("folder", nargs="?", type=Path, help=f"where the results go; {RESULTS} when not given")
    parser.add_argument("--minutes", type=float, help=f"for everything; {MINUTES} when not given, without end if dry")
    parser.add_argument("--dry", action="store_true", help="try it without a card: tiny, in Triton's interpreter")
    args = parser.parse_args(argv)
    if not args.dry and not torch.cuda.is_available():
        print("no CUDA card was found; run this on a machine that has one, or try it with --dry", file=sys.stderr)  # noqa: T201
        return 2
    if args.dry:
        os.environ["TRITON_INTERPRET"] = "1"
    folder = args.folder or ROOT / (Path("runs/gpu") if args.dry else RESULTS)
    minutes = args.minutes or (math.inf if args.dry else MINUTES)
    result = run_parts(folder, args.dry, minutes, say=lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    print(table(result))  # noqa: T201
    page = ROOT / PAGE
    if args.folder is None and not args.dry and page.is_file():
        replace_file(page, with_tables(page.read_text(encoding="utf-8"), folder))
    return int(any(part["status"] not in ("passed", "measured", "skipped") for part in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
