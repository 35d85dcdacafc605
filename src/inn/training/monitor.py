"""What is measured and told along the way: log lines, validations, samples and warnings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from inn.config.run import RunConfig
from inn.data.dataset import Dataset
from inn.inference.evaluate import Score
from inn.inference.resting import spent
from inn.models.sequence import SequenceModel
from inn.nn.recall.base import Found
from inn.runs.directory import Run
from inn.training import alarms, events, validation
from inn.training.finite import TrainingDiverged
from inn.training.optim import Schedule
from inn.training.parallel.group import Group
from inn.training.state import Sums, TrainState
from inn.training.tensorboard import TensorBoardWriter


class Monitor:
    """Tells of a run under way: in its run directory, to TensorBoard, and to whoever gets the events.

    Args:
        run: the run directory.
        state: how far the run has come; `log` and `validate` write into it.
        steps: of the whole run.
        lr: the learning rate of a step, from 0; None where nothing is trained step by step.
        group: all of its processes call the same methods; only the main one's run directory and events are real.
        measure: what the objective has to tell of a validation besides: see `Objective.measure`.
    """

    def __init__(
        self,
        run: Run,
        state: TrainState,
        config: RunConfig,
        dataset: Dataset,
        model: SequenceModel,
        steps: int,
        lr: Schedule | None,
        report: events.EventHandler,
        group: Group,
        measure: Callable[[Callable[[], Score]], dict[str, float]] | None = None,
    ):
        self.measure = measure
        self.run, self.state, self.config, self.dataset, self.model = run, state, config, dataset, model
        self.steps, self.lr, self.report, self.group = steps, lr, report, group

    def start(self, symbols: int, device: torch.device) -> None:
        """Start the clock, count the floors of a new run, and say what is to be done on how many symbols."""
        self.clock = time.perf_counter()
        self.first_step = self.state.step
        lines = [x for x in self.run.metrics() if x["event"] == "train"]
        self.logged = [(x["step"], x["bits"]) for x in lines]
        self.fired = [(x["step"], _named("firing.", x)) for x in lines]
        self.active = [(x["step"], _named("active.", x)) for x in lines]
        self.board = TensorBoardWriter(self.run.path if self.group.is_main else None, self.state.step)
        if not self.state.floors:
            self.state.floors = self.group.on_main(
                lambda: validation.count_floors(self.model, self.dataset, self.config)
            )
        vocabulary, threads = self.dataset.vocabulary, torch.get_num_threads()
        self.report(
            events.Started(
                self.state.step,
                self.run.path,
                self.steps,
                symbols,
                self.config.model.kind,
                self.model.num_parameters,
                f"cpu, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else str(device),
                vocabulary.unit,
                vocabulary.metric,
                dict(self.state.floors["valid"]),
            )
        )
        if deaf := self._deaf():
            self._warn_once("deaf", alarms.deaf_warning(deaf))

    def _deaf(self) -> list[int]:
        """The neurons whose topology lets them hear nobody, themselves included."""
        graph = getattr(self.model, "graph", None)
        edges = None if graph is None else getattr(graph, "edge_open", None)
        return [] if edges is None else (~edges.any(1)).nonzero()[:, 0].tolist()

    def elapsed(self) -> float:
        """Seconds of work on this run, earlier sittings included."""
        return self.state.seconds + time.perf_counter() - self.clock

    def close(self) -> None:
        """Finish what is being written."""
        self.board.close()

    def log(self, inputs: Tensor, found: Found | None, grad_norm: float) -> None:
        """Tell of the steps since the last log line.

        `inputs` `[B, T]`, what was `found` there beforehand, and `grad_norm` are those of the last step.
        """
        state, sums = self.state, self.state.tally
        state.tally = Sums()
        elapsed = self.elapsed()
        per_step = (time.perf_counter() - self.clock) / (state.step - self.first_step)
        nats = sums.nats / sums.symbols
        effective = validation.effective_neurons(self.model, inputs, found)
        fired = validation.firing(self.model, inputs, found)
        active = validation.taking_part(self.model, inputs, found)
        self.fired.append((state.step, fired))
        self.active.append((state.step, active))
        assert self.lr is not None
        progress = events.Progress(
            state.step,
            self.steps,
            state.symbols,
            nats,
            nats / math.log(2),
            self.lr(state.step - 1),
            grad_norm,
            sums.symbols / sums.seconds,
            effective,
            sums.penalty / sums.symbols,
            elapsed,
            per_step * (self.steps - state.step),
            {
                **{name: total / sums.symbols for name, total in sums.named.items()},
                **{f"firing.{name}": rate for name, rate in fired.items()},
                **{f"active.{name}": share for name, share in active.items()},
                **({"flops": sum(spent(self.model, active).values())} if active else {}),
            },
        )
        line = {key: value for key, value in asdict(progress).items() if key not in ("steps", "seconds_left", "named")}
        self.run.log(event="train", **line, **progress.named)
        drawn = {key: line[key] for key in ("bits", "lr", "grad_norm", "symbols_per_s", "effective_neurons")}
        self.board.scalars(state.step, **{f"train/{key}": value for key, value in {**drawn, **progress.named}.items()})
        self.logged.append((state.step, progress.bits))
        self.report(progress)
        self._look_for_alarms(effective)

    def _look_for_alarms(self, effective: float | None) -> None:
        neurons = getattr(self.config.model, "neurons", 1)
        if effective is not None and neurons > 1 and alarms.neurons_alike(effective, self.state.step, self.steps):
            self._warn_once("alike", alarms.alike_warning(effective, neurons))
        for name in alarms.silent(self.fired):
            self._warn_once(f"silent {name}", alarms.silent_warning(name))
        for name, share in alarms.collapsed(self.active).items():
            self._warn_once(f"collapsed {name}", alarms.collapsed_warning(name, share))
        floors = self.state.floors["train"]
        settled = alarms.settled_floor(self.logged, self.steps, floors)
        if settled is not None:
            name, bits = settled
            self._warn_once(name, alarms.floor_warning(name, floors[name], bits, self.dataset.vocabulary.unit))

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self.state.warned:
            self.state.warned.append(key)
            self.warn(message)

    def warn(self, message: str) -> None:
        """Tell of something a person should look at, in one sentence."""
        self.run.log(event="warning", step=self.state.step, message=message)
        self.report(events.Warned(self.state.step, message))

    def validate(self) -> bool:
        """Validate, and say whether it is the best so far."""
        began = time.perf_counter()
        state = self.state

        def validated() -> Score:
            return validation.validate(self.model, self.dataset, self.config, self.group)

        score = validated()
        if not math.isfinite(score.nats):
            raise TrainingDiverged(f"training diverged at step {state.step}: the validation loss is {score.nats}")
        best = state.best is None or score.bits < state.best["bits"]
        measured = dict(getattr(score, "metrics", {}))
        if self.measure is not None:
            measured |= {f"objective.{name}": value for name, value in self.measure(validated).items()}
        state.validation = {
            "step": state.step,
            "nats": score.nats,
            "bits": score.bits,
            "count": score.count,
            **measured,
        }
        if best:
            state.best = dict(state.validation)
        self.run.log(event="validation", best=best, **state.validation)
        self.board.scalars(
            state.step, **{f"validation/{key}": v for key, v in {"bits": score.bits, **measured}.items()}
        )
        self.report(
            events.Validated(
                state.step,
                score.nats,
                score.bits,
                score.perplexity,
                score.count,
                best,
                time.perf_counter() - began,
                measured,
            )
        )
        return best

    def sample(self) -> None:
        """Let the model write something."""
        text = validation.sample(self.model, self.config.train.seed)
        self.run.log_sample(self.state.step, text)
        self.report(events.Sampled(self.state.step, text))


def _named(prefix: str, line: dict[str, Any]) -> dict[str, float]:
    """What a log line has under names of this prefix, which is taken off."""
    return {name.removeprefix(prefix): value for name, value in line.items() if name.startswith(prefix)}
