"""Trains in processes that may be killed; started by the tests.

Reads lines `SETTINGS RUN DIE_AT` and, for each, starts or goes on with a run in a fork of this process, which has
PyTorch loaded already. DIE_AT kills the fork in the middle of that checkpoint file's write (0: never). Written to
stdout: `pid N`, a line per event, `status ...`, and when the fork is gone `exit CODE`.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import torch._dynamo  # noqa: F401  (as inn.analysis: what every training imports, once and not in each fork)
import yaml

import inn.analysis  # noqa: F401
from inn.config.run import RunConfig
from inn.runs import checkpoint
from inn.training.trainer import fit


def die_at(number: int) -> None:
    """Kill this process when the `number`-th checkpoint file is half written."""
    real, done = checkpoint.write_synced, [0]

    def write(path: Path, content: bytes) -> None:
        done[0] += 1
        if done[0] == number:
            real(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, content)

    checkpoint.write_synced = write


def main(settings: str, run: str, dies: str) -> None:
    """Train until the end, a signal, or death."""
    print("pid", os.getpid(), flush=True)
    die_at(int(dies))
    resume = Path(run).exists()
    config = None if resume else RunConfig.from_dict(yaml.safe_load(Path(settings).read_text()))
    summary = fit(config, run, resume=resume, report=lambda event: print(type(event).__name__, event.step, flush=True))
    print("status", summary["status"], flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                main(*line.split())
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
