"""The lab book's entry on how to train: optimisers, averages of the weights, schedules, each with its seeds.

Each line is a run as `inn train text8-last` with `COMMON` and its options makes it, but that the averages of several
decays are kept beside one training, which they do not touch; `--train.ema 0.99` gives the same weights. What is there
already is not done again: `python results/lab-book/training.py runs.jsonl` goes on where it was stopped.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from inn.config.run import RunConfig
from inn.config.settings import resolve
from inn.data.prepare import prepare
from inn.models.build import build_model
from inn.nn import starting
from inn.training import building, optim, validation
from inn.training.average import Average
from inn.training.optim import build_optimizer, build_schedule
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper, trim

COMMON = (
    "--model.width 12 --model.rounds 3 --data.batch 8 --data.window 128 --train.symbols 500000 "
    "--train.eval_symbols 100000 --train.threads 1 --train.sample_every 0"
)
DECAYS = (0.99, 0.999)
RATES = {"adamw": (0.003, 0.006, 0.012, 0.024), "muon": (0.003, 0.006, 0.012, 0.024)}
TOGETHER = "(a neuron's edges as one matrix)"
SCHEDULES = ("--train.schedule wsd", "--train.schedule onecycle --train.warmup 0.3")


def measure(options: str, seed: int) -> dict[str, Any]:
    """Bits on the validation part after training, by the decay of the average; 0: the weights as they are."""
    config = building.fitted(*_read(f"{COMMON} {options.replace(TOGETHER, '')} --train.seed {seed}"))
    dataset, train = prepare(config.data), config.train
    torch.manual_seed(seed)
    model = build_model(config.model)
    steps = dataset.steps(config.data, train.symbols)
    with mock.patch.object(optim, "matrices_of", _together if TOGETHER in options else optim.matrices_of):
        optimizer = build_optimizer(model, train)
    stepper = Stepper(SingleDevice(model.train()), optimizer, train, carry=True, steps=steps)
    rate, state, left = build_schedule(train, steps), None, train.symbols
    streams = dataset.batches(config.data, seed, slice(0, config.data.batch))
    averages, began = {decay: Average(model, decay) for decay in DECAYS}, time.process_time()
    for step in range(steps):
        batch = streams.next()
        inputs, targets = batch.inputs, batch.targets
        if left < targets.numel():
            inputs, targets = trim(inputs, targets, left)
        left -= targets.numel()
        state = stepper(inputs, targets, batch.reset, state, rate(step), step + 1).state
        for average in averages.values():
            average.update()
    seconds, found = time.process_time() - began, {"0": validation.validate(model, dataset, config).bits}
    for decay, average in averages.items():
        with average.applied():
            found[str(decay)] = validation.validate(model, dataset, config).bits
    return {"options": options, "seed": seed, "parameters": model.num_parameters, "seconds": seconds, "bits": found}


def _together(model: torch.nn.Module) -> dict[torch.nn.Parameter, tuple[int, int, int]]:
    """The matrices of the rounds, but for those of edges, of which all that one neuron hears through are one."""
    return {p: (o, 1, k * i) for p, (o, k, i) in starting.matrices(model).items()}


def _read(options: str) -> tuple[RunConfig, Any]:
    config = resolve("text8-last", options.split()).config
    return config, prepare(config.data)


def main(path: Path) -> None:
    """Do all that is not in the file yet: rates first, then the best of each optimiser, and the schedules."""
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run(options: str, seed: int) -> dict[str, Any]:
        for one in done:
            if (one["options"], one["seed"]) == (options, seed):
                return one
        done.append(measure(options, seed))
        with path.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        return done[-1]

    torch.set_num_threads(1)
    best = {}
    for optimizer in RATES:
        rates = {r: run(f"--train.optimizer {optimizer} --train.lr {r}", 0)["bits"]["0"] for r in RATES[optimizer]}
        best[optimizer] = min(rates, key=lambda r: rates[r])
    muon = f"--train.optimizer muon --train.lr {best['muon']}"
    run(f"{muon} {TOGETHER}", 0)
    for seed in (0, 1, 2):
        run(f"--train.optimizer adamw --train.lr {best['adamw']}", seed)
        run(muon, seed)
        for schedule in ("", *SCHEDULES):  # all at one rate
            run(f"--train.optimizer adamw --train.lr 0.006 {schedule}".strip(), seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
