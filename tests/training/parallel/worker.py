"""Starts groups of processes that train; started by the tests, with PyTorch loaded once for all.

Reads lines of JSON, a job each: `settings`, `run`, `world`, and perhaps `resume`, `stop` (the step in which the last
process sends itself SIGTERM) and `late` (the step in which the others wait for it). Forks `world` processes, waits for
them and answers with a line of JSON: their exit codes, and what each has to tell.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch.distributed.fsdp
import yaml

import inn.analysis  # noqa: F401  (as the two of torch above: what every training imports, once and not in each process)
from inn.config.run import RunConfig
from inn.training import events
from inn.training.parallel import group
from inn.training.parallel.multi import MultiProcess
from inn.training.parallel.single import SingleDevice
from inn.training.trainer import fit
from inn_benchmarks.traffic import Traffic

sys.path.insert(0, str(Path(__file__).parents[1]))
import toys  # noqa: F401  (a memory and objectives of the tests' own)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def work(job: dict[str, Any], rank: int, answer: Path) -> None:
    torch.set_num_threads(1)
    if job["world"] > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["world"]))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(job["port"]))
    told: dict[str, Any] = {"local": {}}
    last = rank == job["world"] - 1

    def report(event: events.Event) -> None:
        if isinstance(event, events.Warned):
            told.setdefault("warnings", []).append(event.message)

    traffic = Traffic()
    strategy = SingleDevice if job["world"] == 1 else MultiProcess
    stepped = strategy.begin_step

    def begin(self, step: int, batch: int) -> None:
        if last and step == job.get("stop"):
            os.kill(os.getpid(), signal.SIGTERM)
        if step == job.get("late"):
            if last:
                time.sleep(0.5)
            told["came"] = time.monotonic()
            self.group.barrier()
            told["passed"] = time.monotonic()
        stepped(self, step, batch)
        if step == 1:
            traffic.watch(self)
        if self.sharded and step == 1:
            told["local"] = {n: [p.to_local().numel(), p.numel()] for n, p in self.model.named_parameters()}

    strategy.begin_step = begin
    config = RunConfig.from_dict(yaml.safe_load(Path(job["settings"]).read_text()))
    with traffic:
        told["summary"] = fit(
            None if job.get("resume") else config, job["run"], resume=job.get("resume", False), report=report
        )
    told["traffic"] = dict(traffic.bytes)
    assert not group.dist.is_initialized()
    answer.with_name(f"{answer.name}.{rank}").write_text(json.dumps(told))


def run(job: dict[str, Any], answer: Path) -> dict[str, Any]:
    job["port"] = free_port()
    children = []
    for rank in range(job["world"]):
        child = os.fork()
        if not child:
            try:
                with answer.with_name(f"{answer.name}.err{rank}").open("w") as errors:
                    os.dup2(errors.fileno(), 2)
                    faulthandler.dump_traceback_later(100, exit=True)  # a process that hangs says where
                    work(job, rank, answer)
            except BaseException as error:
                traceback.print_exc()
                answer.with_name(f"{answer.name}.{rank}").write_text(json.dumps({"error": str(error)}))
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    files = [answer.with_name(f"{answer.name}.{rank}") for rank in range(job["world"])]
    said = [answer.with_name(f"{answer.name}.err{rank}").read_text()[-3000:] for rank in range(job["world"])]
    return {"codes": codes, "told": [json.loads(f.read_text()) if f.is_file() else {} for f in files], "said": said}


if __name__ == "__main__":
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(json.loads(line), Path(folder) / "answer")), flush=True)
