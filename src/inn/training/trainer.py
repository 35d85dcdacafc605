"""The training loop: one function from a configuration to a run directory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from inn.config.run import RunConfig
from inn.config.sections import SECTIONS
from inn.data.dataset import Dataset
from inn.data.streams import Batch
from inn.models.build import build_model, check_size
from inn.models.sequence import SequenceModel
from inn.nn.modes import learns
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint
from inn.runs.directory import ReadOnlyRun, Run
from inn.runs.exported import experience_bytes
from inn.runs.ties import check_ties, ties
from inn.system import provenance
from inn.system.device import using_threads
from inn.system.errors import InputError
from inn.training import building, events, validation
from inn.training.average import Average
from inn.training.experience import experience_of
from inn.training.finite import TrainingDiverged
from inn.training.monitor import Monitor
from inn.training.optim import build_optimizer, build_schedule
from inn.training.parallel.group import SINGLE_PROCESS, Group, launcher_id, local_device, process_group
from inn.training.parallel.single import SingleDevice
from inn.training.parallel.strategy import build_strategy
from inn.training.signals import StopSignals
from inn.training.state import TrainState
from inn.training.step import Stepper, trim
from inn.training.summary import summarize


@learns
def fit(
    config: RunConfig | None,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    report: events.EventHandler = events.silent,
) -> dict[str, Any]:
    """Train a model as `config` says, into the run directory `run_dir`, and return the summary written there.

    Exactly `config.train.symbols` symbols are trained on, in ceil(symbols / (batch x window)) steps; the last step
    takes what is left. SIGINT and SIGTERM end the run after the step under way, with a checkpoint. A model that is
    fitted by counting (n-gram) is fitted to the whole training part instead.

    Called in every process that `torchrun` has started, it trains one model in all of them: each reads its rows of
    every batch, the first one writes and reports, and the result is that of one process up to rounding (and dropout).

    Args:
        config: the settings; the model's vocabulary size is taken from the data. None on resume: the run's own.
        run_dir: must be free, or hold the run to resume.
        resume: go on from the newest good checkpoint; on the CPU, with the same threads, the run is then bit for bit
            the one that was never stopped.
        report: called with the events of `inn.training.events`.

    Returns the summary: `status` is `finished` or `stopped`.

    Raises `InputError` for bad settings or data, a run directory that exists (or, on resume, does not), a full disk;
    `TrainingDiverged`, which is one, when a number is no longer finite. The last good checkpoint stays.

    Example: ``fit(resolve_settings("demo"), "runs/demo", report=print)``
    """
    run, config = building.open_run(config, run_dir, resume)
    building.check_accumulate(config)
    device = local_device(config.train.device)
    dataset = building.prepare_data(config, run)
    config = building.fitted(config, dataset)
    with using_threads(config.train.threads), process_group(device) as group, StopSignals() as stop:
        building.check_accumulate(config, group)
        if device.type == "cpu" and group.world == 1:
            forward = config.data.text and config.data.order == "forward"  # one set of tables for all streams
            streams = 1 if forward else config.data.batch
            check_size(config.model, copies=6 if config.train.ema else 4, streams=streams)
        torch.manual_seed(config.train.seed)
        model = build_model(config.model)
        model.vocabulary = dataset.vocabulary
        building.standardise(model, dataset)
        moments: dict[str, Tensor] = {}
        if config.train.start is not None and (run is None or not checkpoints.steps(run.checkpoints)):
            building.load_start(config.train.start, model)
            moments = building.moments_of(config.train.start)
        model.to(device)
        if config.train.checkpoint_rounds:
            building.checkpoint_rounds(model)
        # All that can be refused is refused here, before a file is written.
        trainer = Trainer(config, dataset, model, device, report if group.is_main else events.silent, group)
        if run is None:
            group.on_main(lambda: Run.create(run_dir, config, dataset.vocabulary, launcher=launcher_id()))
        trainer.open(Run(run_dir) if group.is_main else ReadOnlyRun(run_dir))
        if moments:
            trainer.go_on(moments)
        if run is not None:
            trainer.restore(*trainer.strategy.load_latest(run.checkpoints))
        return trainer.run_to_the_end(stop)


class Trainer:
    """A run under way: `fit` makes one, gives it its run directory, and restores it when it resumes."""

    run: Run
    monitor: Monitor

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        model: SequenceModel,
        device: torch.device,
        report: events.EventHandler,
        group: Group = SINGLE_PROCESS,
    ):
        self.config, self.dataset, self.model, self.device, self.report = config, dataset, model, device, report
        self.group = group
        data, settings = config.data, config.train
        self.counted = hasattr(model, "fit")  # an n-gram table is counted, not trained
        if self.counted:
            building.check_counted(config)
        self.steps = 0 if self.counted else dataset.steps(data, settings.symbols)
        self.state = TrainState()
        self.strategy, self.optimizer, self.lr = SingleDevice(model, group), None, None
        self.carried: State | None = None
        self.average: Average | None = None
        self.saved_step: int | None = None
        if not self.counted:
            self.rows = group.rows(data.batch)
            self.streams = dataset.batches(data, settings.seed, self.rows)
            self.strategy = build_strategy(model, group, settings.parallel, settings.seed)
            building.check_optimizer(config, model, self.strategy.sharded)
            self.optimizer = build_optimizer(model, settings)
            self.lr = build_schedule(settings, self.steps)
            carry = data.text and data.order != "random"
            self.stepper = Stepper(self.strategy, self.optimizer, settings, carry, self.steps)
            self.experience = experience_of(model, config, self.streams, self.stepper.objective)
            self.average = self.stepper.average

    def open(self, run: Run) -> None:
        """Take the run directory that all is written into."""
        self.run = run
        measure = None if self.counted else self.stepper.objective.measure
        told = (self.model, self.steps, self.lr, self.report, self.group, measure)
        self.monitor = Monitor(run, self.state, self.config, self.dataset, *told)

    # -- the run from its start to its end

    def run_to_the_end(self, stop: StopSignals) -> dict[str, Any]:
        """Train until the last step or a signal; return the summary."""
        self.monitor.start(len(self.dataset.train) if self.counted else self.config.train.symbols, self.device)
        if self.config.train.start is not None and not self.state.step and self.saved_step is None:
            self.save()  # so that the run it starts from is not needed again
        try:
            self._count() if self.counted else self._loop(stop)
        except TrainingDiverged as error:
            kept = checkpoints.steps(self.run.checkpoints)
            left = f"the checkpoint of step {kept[-1]} is kept" if kept else "no checkpoint had been written"
            self._write_summary("diverged", error=f"{error}; {left}")
            raise TrainingDiverged(f"{error}; {left}") from error
        finally:
            self.monitor.close()
        status, extra = "finished" if self.state.step >= self.steps else "stopped", {}
        if status == "finished" and self.group.is_main:
            with self._averaged():
                experience = validation.experience(self.model, self.dataset)
            if experience is not None:
                extra["experience"] = self.run.write_experience(experience_bytes(experience))
        summary = self._write_summary(status, **extra)
        self.report(events.Finished(self.state.step, status, self.run.path, summary))
        return summary

    def _loop(self, stop: StopSignals) -> None:
        settings, monitor = self.config.train, self.monitor
        self.model.train()
        if not self.state.step and (told := self.stepper.objective.before_run(self._fresh())):
            self.run.log(event="objective", step=0, **told)
        while self.state.step < self.steps and not self.group.any(stop.requested is not None):
            self.train_step()
            step = self.state.step
            last = step == self.steps
            if step % settings.log_every == 0 or last:
                monitor.log(*self.last)
            validates = step % settings.eval_every == 0 or last
            samples = settings.sample_every and self.config.data.text and (step % settings.sample_every == 0 or last)
            with self._averaged() if validates or samples else contextlib.nullcontext():
                best = validates and monitor.validate()
                if samples:
                    monitor.sample()
            if best or last or step % settings.checkpoint_every == 0:
                self.save()
        if self.saved_step != self.state.step:  # stopped between two checkpoints
            self.save()

    def _averaged(self) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
        """The model has its averaged weights inside, where there are such; its own are then given by name."""
        return contextlib.nullcontext({}) if self.average is None else self.average.applied()

    def _fresh(self) -> Iterator[Batch]:
        """Batches of the training part from its start, all rows; those of the run stay where they are."""
        data = self.config.data
        streams = self.dataset.batches(data, self.config.train.seed, slice(0, data.batch))
        while True:
            yield streams.next()

    def _count(self) -> None:
        """Fit a model that only counts, in place of the loop."""
        self.model.fit(self.dataset.train)  # type: ignore[operator]
        self.state.symbols = len(self.dataset.train)
        self.monitor.validate()
        self.monitor.sample()
        self.save()

    def train_step(self) -> None:
        """Take one optimiser step on the next batch."""
        assert self.lr is not None
        began = time.perf_counter()
        state = self.state
        batch = self.streams.next()
        inputs, targets, count = self._to_read(batch)
        together = None
        if self.group.world > 1:  # of a text every symbol counts, of a task not every target does
            together = count if self.config.data.text else self.group.sum(int(self.model.counted(targets)))[0]
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        reset, weights = (None if t is None else t.to(self.device) for t in (batch.reset, batch.weights))
        found = None
        if self.experience is not None:
            assert batch.starts is not None
            found = {k: t.to(self.device) for k, t in self.experience.at(batch.starts, inputs.shape[1]).items()}
        step, lr = state.step + 1, self.lr(state.step)
        result = self.stepper(inputs, targets, reset, self.carried, lr, step, together, weights, found)
        self.carried = result.state
        self.last = inputs, found, result.grad_norm
        seconds = time.perf_counter() - began
        state.step += 1
        state.symbols += count
        state.training_seconds += seconds
        state.tally.add(result, count, seconds)

    def _to_read(self, batch: Batch) -> tuple[Tensor, Tensor, int]:
        """What is trained on of a batch, and how many symbols or steps that is in all processes."""
        inputs, targets = batch.inputs, batch.targets
        count, left = targets.shape[0] * targets.shape[1], self.config.train.symbols - self.state.symbols
        if not self.config.data.text:  # sequences are read whole
            return inputs, targets, int(self.group.sum(count)[0])
        count *= self.group.world
        if left < count:
            return *trim(inputs, targets, left, self.config.data.batch, self.rows.start), left
        return inputs, targets, count

    # -- what is kept

    def save(self) -> None:
        """Write a checkpoint of this moment, then let go of those no longer needed."""
        state = self.state
        if broken := self.strategy.find_not_finite(self.optimizer, self.carried):
            raise TrainingDiverged(f"training diverged at step {state.step}: {broken} is not finite")
        objective = {} if self.counted else self.stepper.objective.state_dict()
        tensors = {name: value for name, value in objective.items() if isinstance(value, torch.Tensor)}
        rest = {name: value for name, value in objective.items() if name not in tensors}
        meta = {
            "model": asdict(self.config.model),
            **ties(self.config, self.dataset.vocabulary),
            "data_sha256": self.dataset.sha256,
            "streams": None if self.counted else self.streams.state_dict(),
            "sizes": self.run.sizes(),
            "carried": 0 if self.carried is None else self.config.data.batch,
            "standing": asdict(replace(state, seconds=self.monitor.elapsed())),
            "versions": provenance.versions(),
            **({"objective": rest} if objective else {}),
        }
        with self._averaged() as raw:
            path = self.strategy.save(
                self.run.checkpoints, state.step, self.optimizer, self.carried, tensors, raw, meta
            )
        is_best = state.best is not None and state.best["step"] == state.step
        if self.group.is_main:
            if is_best:
                checkpoints.set_best(self.run.checkpoints, state.step, state.best["bits"])  # type: ignore[index]
            checkpoints.prune(self.run.checkpoints, self.config.train.keep)
        self.saved_step = state.step
        self.report(events.Saved(state.step, path, is_best))

    def go_on(self, moments: dict[str, Tensor]) -> None:
        """Let the optimiser go on with moments of the run that this one starts from."""
        if not self.counted and building.optimizer_of(str(self.config.train.start)) != self.config.train.optimizer:
            self.monitor.warn("the optimiser starts afresh: the moments of the run it starts from are another's")
        elif self.strategy.sharded:
            self.monitor.warn("the optimiser starts afresh: moments of another run are not dealt out to processes")
        elif self.optimizer is not None:
            checkpoints.unpack_optimizer(self.model, self.optimizer, moments)

    def restore(self, found: Checkpoint | None, notes: list[str]) -> None:
        """Put everything back to a checkpoint's moment; with none, the run begins again at step 0."""
        if found is None:
            self.run.rewind({})
            self.monitor.warn("no checkpoint had been written yet: the run begins again")
            return
        path = self.run.checkpoints / checkpoints.name_of(found.step)
        if "standing" not in found.meta:
            raise InputError(
                f"run '{self.run.path}' has weights and no training to go on with; "
                f"start one from them by `inn train --from {self.run.path} --run DIR`"
            )
        if found.meta["data_sha256"] != self.dataset.sha256:
            raise InputError(
                f"the text of corpus '{self.config.data.corpus}' is not the one run '{self.run.path}' was trained on "
                "(its sha256 differs); restore it, or start another run"
            )
        changed = check_ties(self.run, path, found.meta, SECTIONS)
        self.carried = self.strategy.restore(path, found, self.optimizer)
        if self.average is not None:
            self.average.restore(found.tensors["raw"], found.step)
        self.state.load_state_dict(found.meta["standing"])
        if not self.counted:
            self.streams.load_state_dict(found.meta["streams"])
        if "objective" in found.meta:
            tensors = {name: t.to(self.device) for name, t in found.tensors["objective"].items()}
            self.stepper.objective.load_state_dict({**found.meta["objective"], **tensors})
        self.saved_step = found.step
        best = self.state.best
        if self.group.is_main:
            checkpoints.set_best(self.run.checkpoints, best["step"] if best else None, best["bits"] if best else None)
        self.run.rewind(found.meta["sizes"])
        for note in [*notes, *changed]:
            self.monitor.warn(note)
        self.strategy.unpack_rng(found.tensors["rng"])

    def _write_summary(self, status: str, **extra: Any) -> dict[str, Any]:
        state = replace(self.state, seconds=self.monitor.elapsed())
        best = checkpoints.best(self.run.checkpoints)
        summary: dict[str, Any] = {
            "status": status,
            "steps": self.steps,
            "best_checkpoint": best.name if best else None,
        }
        summary |= extra | summarize(self.config, self.dataset, self.model, self.device, state)
        self.run.write_summary(summary)
        return summary
