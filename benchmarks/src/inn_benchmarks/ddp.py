"""One training step by one process with two threads, and by two processes with one thread each (DDP)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn_benchmarks.measure import NORMAL, Effort, in_turns, spread
from inn_benchmarks.rows import Measured
from inn_benchmarks.run import environ
from inn_benchmarks.steps import VOCAB, StepSize, words

DEFAULT = StepSize(16, 256)


def ddp_2(size: StepSize = DEFAULT, effort: Effort = NORMAL) -> Measured:
    """The default model's training step, state carried; the same global batch on as many cores either way."""
    with Workers(size, [2]) as alone, Workers(size, [1, 1]) as pair:
        times = in_turns({"one": alone.step, "ddp": pair.step}, effort)
    one, two = times["one"].median, times["ddp"].median
    details = {
        "seconds": spread(times),
        "symbols_per_s": {"one process, 2 threads": size.symbols / one, "2 processes, 1 thread": size.symbols / two},
        "gradient_bytes": 4 * model_of(size).num_parameters,
    }
    return Measured(one / two, "float32", words(model_of(size), size), details)


PATIENCE = 20.0
"""Seconds that a process has to leave its group, when nothing is asked of it any more."""


class Workers(contextlib.AbstractContextManager["Workers"]):
    """A group of processes on this machine that take training steps together, when asked.

    Args:
        size: the model and the global batch.
        threads: of each process.
        parallel: `ddp` or `fsdp`.
    """

    def __init__(self, size: StepSize, threads: Sequence[int], parallel: str = "ddp"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        self.processes = []
        for rank, count in enumerate(threads):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(threads)), **address}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "inn_benchmarks.ddp", json.dumps([asdict(size), parallel])],
                    env={**environ(count), **place},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        self._answers()  # all are ready

    def step(self) -> dict[str, Any]:
        """Take one step; what the first process says of it."""
        return self._ask("step")

    def send(self) -> dict[str, Any]:
        """Send what a step sends, and compute nothing."""
        return self._ask("send")

    def _ask(self, what: str) -> dict[str, Any]:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
        return self._answers()[0]

    def _answers(self) -> list[dict[str, Any]]:
        lines = [process.stdout.readline() for process in self.processes if process.stdout is not None]
        if not all(lines):
            self.__exit__()
            raise RuntimeError("a process of the group ended early; what it said is above")
        return [json.loads(line) for line in lines]

    def __exit__(self, *_: object) -> None:
        for process in self.processes:  # of all first: none may wait for another that has not been told
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()  # which ends it
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def model_of(size: StepSize) -> SequenceModel:
    """The default model, or the one whose fields are given."""
    torch.manual_seed(0)
    return build_model(model_config("inn", vocab=VOCAB, **size.model))


def serve(size: StepSize, parallel: str) -> Generator[dict[str, Any], str, None]:
    """Take a training step whenever `step` is sent, and only what it sends for `send`; the first value says: ready.

    A value holds `loss`, and `traffic`: bytes that were sent in that step, by collective (`inn_benchmarks.traffic`).
    """
    from inn.training.optim import build_optimizer
    from inn.training.parallel.group import local_device, process_group
    from inn.training.parallel.strategy import build_strategy
    from inn.training.step import Stepper
    from inn_benchmarks.traffic import Traffic

    with process_group(local_device("cpu")) as group, Traffic() as traffic:
        model, config = model_of(size).train(), TrainConfig()
        strategy = build_strategy(model, group, parallel, seed=0)
        traffic.watch(strategy)
        step = Stepper(strategy, build_optimizer(model, config), config, carry=True)
        text = torch.randint(VOCAB, (size.batch, size.length + 1), generator=torch.Generator().manual_seed(0))
        rows, state, number = text[group.rows(size.batch)], None, 0
        count = size.symbols if group.world > 1 else None
        gradients = torch.zeros(model.num_parameters)
        told: dict[str, Any] = {}
        while True:
            if (yield told) == "send":
                if group.world > 1:
                    torch.distributed.all_reduce(gradients)
                continue
            number += 1
            traffic.bytes.clear()
            result = step(rows[:, :-1], rows[:, 1:], None, state, 1e-3, number, count)
            state = result.state
            told = {"loss": result.loss, "traffic": dict(traffic.bytes)}


def main() -> None:
    """A process of `Workers`: a line on stdin asks for a step, a line on stdout answers."""
    tree, parallel = json.loads(sys.argv[1])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    steps = serve(StepSize(**tree), parallel)
    sys.stdout.write(json.dumps(next(steps)) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(steps.send(line.strip())) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
