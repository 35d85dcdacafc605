"""`python -m inn_benchmarks ROW`, or `MODULE:FUNCTION ARGUMENTS`: one measurement, its outcome as JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

from inn_benchmarks.rows import ROWS, Measured, Skipped


def outcome(target: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a row, or a function named as `module:function`, comes to, as plain data."""
    import torch

    from inn.system.provenance import hardware

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    module, _, function = (ROWS[target].run if target in ROWS else target).partition(":")
    try:
        result = getattr(import_module(module), function)(**arguments)
    except Skipped as reason:
        return {"skipped": str(reason)}
    if not isinstance(result, Measured):
        return result
    device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    machine = {**hardware(device), "instructions": torch.backends.cpu.get_cpu_capability()}
    return {**asdict(result), "threads": torch.get_num_threads(), "machine": machine}


def main() -> None:
    # Whatever the measured libraries print goes to stderr: stdout is for the one object.
    stdout = os.dup(1)
    os.dup2(2, 1)
    result = outcome(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    with os.fdopen(stdout, "w") as out:
        json.dump(result, out)


if __name__ == "__main__":
    main()
