"""Runs rows, each in a process of its own, so that none finds another's memory, threads or caches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import inn
from inn.system.errors import lookup
from inn.system.report import Report
from inn_benchmarks.rows import ROWS, Row


class Broken(Exception):
    """A row's process failed; the message is the last line of what it said, `said` the end of it."""

    def __init__(self, said: list[str], code: int | None):
        super().__init__(said[-1] if said else f"it ended with exit code {code} and said nothing")
        self.said = said[-20:]


def run_rows(
    ids: Iterable[str],
    threads: int,
    report: Report = lambda what, at, of: None,
    *,
    seconds: float | None = None,
    targets: Mapping[str, tuple[str, Mapping[str, Any]]] = {},
) -> dict[str, dict[str, Any]]:
    """Measure rows and return what came out, as plain data by id.

    Every value has `ratio`, `limit`, `better`, `reached`, `what`, `unit`, `sizes`, `dtype`, `threads`, `details`,
    `seconds` (the row took), `machine`, `torch`, `commit`, and `skipped` or `error` with the reason where there is no
    ratio. `report(what, at, of)` hears of every row before it starts. A row that takes longer than `seconds` is ended
    and breaks. `targets` has functions and arguments to call in place of a row's own, by id.

    Raises `InputError` for an unknown id, before anything is run.
    """
    from inn.system.provenance import commit, versions

    rows = {name: lookup("benchmark row", name, ROWS) for name in ids}
    common = {"torch": versions()["torch"], "commit": commit()}
    peers = _Peers()
    results = {}
    for at, (name, row) in enumerate(rows.items(), start=1):
        report(name, at, len(rows))
        start = time.perf_counter()
        outcome = _outcome(targets.get(name, (name, {})), row, threads, peers, seconds)
        results[name] = {
            "ratio": None, "limit": row.limit, "better": row.better, "reached": None, "what": row.what,
            "unit": row.unit, "sizes": None, "dtype": None, "threads": threads, "skipped": None, "error": None,
            "details": {}, **outcome, "seconds": round(time.perf_counter() - start, 1), **common,
        }  # fmt: skip
        results[name].setdefault("machine", None)
    return results


def _outcome(
    target: tuple[str, Mapping[str, Any]], row: Row, threads: int, peers: _Peers, seconds: float | None
) -> dict[str, Any]:
    interpreter = sys.executable
    if row.peers is not None:
        found, reason = peers.python()
        if found is None and row.peers == "needed":
            return {"skipped": reason}
        interpreter = str(found or interpreter)
    try:
        outcome = call(*target, threads=threads, interpreter=interpreter, seconds=seconds)
    except Broken as error:
        return {"error": str(error), "details": {"said": error.said}}
    if outcome.get("ratio") is not None:
        outcome["reached"] = row.reached(outcome["ratio"])
    return outcome


class _Peers:
    """The environment's Python, or why there is none; looked for once, when the first row asks."""

    def __init__(self) -> None:
        self._found: tuple[Path | None, str] | None = None

    def python(self) -> tuple[Path | None, str]:
        from inn_benchmarks import environment

        if self._found is None:
            try:
                self._found = environment.python(), ""
            except environment.Unavailable as error:
                self._found = None, str(error)
        return self._found


def call(
    target: str,
    arguments: Mapping[str, Any] = {},
    *,
    threads: int,
    interpreter: str = sys.executable,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Run a row, or `module:function` with `arguments`, in a process of its own; returns what it came to.

    Raises `Broken` with the end of what the process said where it fails, or takes longer than `seconds`.
    """
    command = [interpreter, "-m", "inn_benchmarks", target, json.dumps(arguments)]
    code, out, said = finished(command, environ(threads), seconds)
    try:
        if code == 0:
            return json.loads(out)
    except json.JSONDecodeError:
        pass
    lines = [line for line in said.splitlines() if line.strip()]
    raise Broken(lines if code is not None else [*lines, f"it took longer than {seconds:.0f} s and was ended"], code)


def finished(
    command: Sequence[str], environment: Mapping[str, str], seconds: float | None
) -> tuple[int | None, str, str]:
    """Run a command, or end it and all that it started after so many seconds; its exit code (then None) and output."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            out, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, *process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, said


def environ(threads: int) -> dict[str, str]:
    """The environment of a row: its threads, this very source of the library and the rows, no network for the peers."""
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONSAFEPATH": "1",  # nothing that lies in the current folder is taken for a module
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    sources = [Path(file).resolve().parents[1] for file in (inn.__file__, __file__)]
    # site-packages are found anyway, and must not come first
    own = [str(source) for source in sources if source.name not in ("site-packages", "dist-packages")]
    if own:
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (*own, os.environ.get("PYTHONPATH"))))
    return environ
