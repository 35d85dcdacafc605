"""The training loop: one function from a configuration to a run directory."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inn.config.run import RunConfig
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.nn.graph import Graph
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint
from inn.runs.directory import Run, Watched
from inn.system import provenance
from inn.system.device import good_threads
from inn.system.errors import InputError
from inn.training import events, looks, watch
from inn.training.board import Board
from inn.training.finite import TrainingDiverged
from inn.training.optim import build_optimizer, build_schedule
from inn.training.parallel.engine import Engine, build_engine
from inn.training.parallel.group import ALONE, Group, joined, launcher, local_device
from inn.training.signals import StopSignals
from inn.training.standing import Standing, Tally, summarize
from inn.training.step import Stepper, trim

if TYPE_CHECKING:
    from inn.data.prepare import Dataset


def train(
    config: RunConfig | None,
    run_dir: str | Path,
    *,
    resume: bool = False,
    report: events.Report = events.silent,
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

    Example: ``train(resolve_settings("demo"), "runs/demo", report=print)``
    """
    run, config = _open(config, run_dir, resume)
    _check(config)
    device = local_device(config.train.device)
    dataset = _prepare(config, run)
    config = replace(config, model=replace(config.model, vocab=dataset.vocabulary.size))
    with _threads(config.train.threads), joined(device) as group, StopSignals() as stop:
        _check(config, group)
        torch.manual_seed(config.train.seed)
        model = build_model(config.model)
        model.vocabulary = dataset.vocabulary
        if config.train.start is not None and (run is None or not checkpoints.steps(run.checkpoints)):
            _start_from(config.train.start, model)
        model.to(device)
        if config.train.checkpoint_rounds:
            _checkpoint_rounds(model)
        # All that can be refused is refused here, before a file is written.
        trainer = Trainer(config, dataset, model, device, report if group.lead else events.silent, group)
        if run is None:
            group.first(lambda: Run.create(run_dir, config, dataset.vocabulary, launcher=launcher()))
        trainer.run = Run(run_dir) if group.lead else Watched(run_dir)
        if run is not None:
            trainer.restore(*trainer.engine.load_latest(run.checkpoints))
        return trainer.run_to_the_end(stop)


def _open(config: RunConfig | None, run_dir: str | Path, resume: bool) -> tuple[Run | None, RunConfig]:
    if not resume:
        if config is None:
            raise InputError("a new run needs a configuration; name a recipe")
        Run.check_free(run_dir)
        return None, config
    run = Run(run_dir)
    stored = run.config()
    if config is not None:
        given, kept = config.to_dict(), stored.to_dict()
        given["model"]["vocab"] = kept["model"].get("vocab")
        for section, values in given.items():
            for name, value in sorted(values.items(), key=lambda item: item[0] != "kind"):
                if kept[section].get(name) != value:
                    raise InputError(
                        f"run '{run_dir}' was started with {section}.{name} {kept[section].get(name)}, not {value}; "
                        "a resumed run keeps its settings, start another by --run"
                    )
    return run, stored


def _check(config: RunConfig, group: Group = ALONE) -> None:
    rows = group.rows(config.data.batch)
    if config.train.accumulate > rows.stop - rows.start:
        whose = f", shared by {group.world} processes" if group.world > 1 else ""
        raise InputError(
            f"accumulate {config.train.accumulate} is more than the rows of a batch ({config.data.batch}{whose}); "
            "choose at most the batch"
        )


def _prepare(config: RunConfig, run: Run | None) -> Dataset:
    from inn.data.prepare import prepare

    dataset = prepare(config.data, run and run.given_vocabulary())
    for part in ("train", "valid"):
        dataset.split(part)  # raises where there is nothing to learn from, or nothing to validate on
    return dataset


def _start_from(start: str, model: SequenceModel) -> None:
    """Give a fresh model the weights of a run; raises `InputError` where they are of another model or other symbols."""
    from inn.runs.load import load

    source = load(start)
    if source.vocabulary != model.vocabulary:
        raise InputError(
            f"run '{start}' reads other symbols ({source.vocabulary}) than this data has ({model.vocabulary}); "
            f"set data.tokenizer {start}, and the data is read in its symbols"
        )
    try:
        model.load_state_dict(source.state_dict())
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights of run '{start}' do not fit the model of these settings: {problem}") from error


def _checkpoint_rounds(model: SequenceModel) -> None:
    graphs = [m for m in model.modules() if isinstance(m, Graph)]
    if not graphs:
        raise InputError(
            f"a model of kind '{model.config.kind}' has no rounds to recompute; leave checkpoint_rounds out"
        )
    for graph in graphs:
        graph.checkpoint_rounds = True


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or good_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """A run under way: `train` makes one, gives it its run directory, and restores it when it resumes."""

    run: Run

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        model: SequenceModel,
        device: torch.device,
        report: events.Report,
        group: Group = ALONE,
    ):
        from inn.data.streams import Streams

        self.config, self.dataset, self.model, self.device, self.report = config, dataset, model, device, report
        self.group = group
        data, settings = config.data, config.train
        self.counted = hasattr(model, "fit")  # an n-gram table is counted, not trained
        self.steps = 0 if self.counted else math.ceil(settings.symbols / (data.batch * data.window))
        self.standing = Standing()
        self.engine, self.optimizer = Engine(model, group), None
        self.carried: State | None = None
        self.saved_step: int | None = None
        self.last_inputs: torch.Tensor | None = None
        if not self.counted:
            name, self.rows = f"the train part of corpus '{dataset.name}'", group.rows(data.batch)
            self.streams = Streams(
                dataset.train, data.batch, data.window, data.order, settings.seed, rows=self.rows, name=name
            )
            self.engine = build_engine(model, group, settings.parallel, settings.seed)
            self.optimizer = build_optimizer(model, settings)
            self.lr = build_schedule(settings, self.steps)
            self.stepper = Stepper(self.engine, self.optimizer, settings, carry=data.order != "random")

    # -- the run from its start to its end

    def run_to_the_end(self, stop: StopSignals) -> dict[str, Any]:
        """Train until the last step or a signal; return the summary."""
        self.clock = time.perf_counter()
        self.first_step = self.standing.step
        self.logged = [(x["step"], x["bits"]) for x in self.run.metrics() if x["event"] == "train"]
        self.board = Board(self.run.path if self.group.lead else None, self.standing.step)
        if not self.standing.floors:
            self.standing.floors = self.group.first(lambda: looks.count_floors(self.dataset, self.config))
        self._report_start()
        if self.config.train.start is not None and not self.standing.step and self.saved_step is None:
            self.save()  # so that the run it starts from is not needed again
        try:
            self._count() if self.counted else self._loop(stop)
        except TrainingDiverged as error:
            kept = checkpoints.steps(self.run.checkpoints)
            left = f"the checkpoint of step {kept[-1]} is kept" if kept else "no checkpoint had been written"
            self._write_summary("diverged", error=f"{error}; {left}")
            raise TrainingDiverged(f"{error}; {left}") from error
        finally:
            self.board.close()
        status = "finished" if self.standing.step >= self.steps else "stopped"
        if status == "finished" and self.group.lead:
            experience = looks.experience(self.model, self.dataset.train)
            if experience is not None:
                self.run.write_experience(experience)
        summary = self._write_summary(status)
        self.report(events.Finished(self.standing.step, status, self.run.path, summary))
        return summary

    def _report_start(self) -> None:
        vocabulary, threads = self.dataset.vocabulary, torch.get_num_threads()
        self.report(
            events.Started(
                self.standing.step,
                self.run.path,
                self.steps,
                len(self.dataset.train) if self.counted else self.config.train.symbols,
                self.config.model.kind,
                self.model.num_parameters,
                f"cpu, {threads} thread{'s' * (threads > 1)}" if self.device.type == "cpu" else str(self.device),
                vocabulary.unit,
                vocabulary.metric,
                dict(self.standing.floors["valid"]),
            )
        )

    def _loop(self, stop: StopSignals) -> None:
        settings = self.config.train
        self.model.train()
        while self.standing.step < self.steps and not self.group.any(stop.requested is not None):
            self.train_step()
            step = self.standing.step
            last = step == self.steps
            if step % settings.log_every == 0 or last:
                self._log()
            best = (step % settings.eval_every == 0 or last) and self._validate()
            if settings.sample_every and (step % settings.sample_every == 0 or last):
                self._sample()
            if best or last or step % settings.checkpoint_every == 0:
                self.save()
        if self.saved_step != self.standing.step:  # stopped between two checkpoints
            self.save()

    def _count(self) -> None:
        """Fit a model that only counts, in place of the loop."""
        self.model.fit(self.dataset.train)  # type: ignore[operator]
        self.standing.symbols = len(self.dataset.train)
        self._validate()
        self._sample()
        self.save()

    def _sample(self) -> None:
        text = looks.sample(self.model, self.config.train.seed)
        self.run.log_sample(self.standing.step, text)
        self.report(events.Sampled(self.standing.step, text))

    def train_step(self) -> None:
        """Take one optimiser step on the next batch."""
        began = time.perf_counter()
        now = self.standing
        batch = self.streams.next()
        left = self.config.train.symbols - now.symbols
        inputs, targets = batch.inputs, batch.targets
        count = inputs.numel() * self.group.world
        if left < count:
            inputs, targets = trim(inputs, targets, left, self.config.data.batch, self.rows.start)
            count = left
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        reset = None if batch.reset is None else batch.reset.to(self.device)
        together = count if self.group.world > 1 else None
        result = self.stepper(inputs, targets, reset, self.carried, self.lr(now.step), now.step + 1, together)
        self.carried = result.state
        self.last_inputs = inputs
        self.last_norm = result.grad_norm
        seconds = time.perf_counter() - began
        now.step += 1
        now.symbols += count
        now.training_seconds += seconds
        now.tally.nats += result.loss * count
        now.tally.penalty += result.penalty * count
        now.tally.symbols += count
        now.tally.seconds += seconds

    # -- what is told along the way

    def _log(self) -> None:
        now, tally = self.standing, self.standing.tally
        now.tally = Tally()
        elapsed = self._elapsed()
        per_step = (time.perf_counter() - self.clock) / (now.step - self.first_step)
        nats = tally.nats / tally.symbols
        assert self.last_inputs is not None
        effective = looks.effective_neurons(self.model, self.last_inputs)
        progress = events.Progress(
            now.step,
            self.steps,
            now.symbols,
            nats,
            nats / math.log(2),
            self.lr(now.step - 1),
            self.last_norm,
            tally.symbols / tally.seconds,
            effective,
            tally.penalty / tally.symbols,
            elapsed,
            per_step * (self.steps - now.step),
        )
        line = {key: value for key, value in asdict(progress).items() if key not in ("steps", "seconds_left")}
        self.run.log(event="train", **line)
        self.board.scalars(
            now.step,
            **{f"train/{key}": line[key] for key in ("bits", "lr", "grad_norm", "symbols_per_s", "effective_neurons")},
        )
        self.logged.append((now.step, progress.bits))
        self.report(progress)
        self._watch(effective)

    def _watch(self, effective: float | None) -> None:
        neurons = getattr(self.config.model, "neurons", 1)
        if effective is not None and neurons > 1 and watch.neurons_alike(effective, self.standing.step, self.steps):
            self._warn_once("alike", watch.alike_warning(effective, neurons))
        floors = self.standing.floors["train"]
        settled = watch.settled_floor(self.logged, self.steps, floors)
        if settled is not None:
            name, bits = settled
            self._warn_once(name, watch.floor_warning(name, floors[name], bits, self.dataset.vocabulary.unit))

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self.standing.warned:
            self.standing.warned.append(key)
            self._warn(message)

    def _warn(self, message: str) -> None:
        self.run.log(event="warning", step=self.standing.step, message=message)
        self.report(events.Warned(self.standing.step, message))

    def _validate(self) -> bool:
        """Validate, and say whether it is the best so far."""
        began = time.perf_counter()
        now, score = self.standing, looks.validate(self.model, self.dataset.valid, self.config, self.group)
        if not math.isfinite(score.nats):
            raise TrainingDiverged(f"training diverged at step {now.step}: the validation loss is {score.nats}")
        best = now.best is None or score.bits < now.best["bits"]
        now.validation = {"step": now.step, "nats": score.nats, "bits": score.bits, "count": score.count}
        if best:
            now.best = dict(now.validation)
        self.run.log(event="validation", best=best, **now.validation)
        self.board.scalars(now.step, **{"validation/bits": score.bits})
        seconds = time.perf_counter() - began
        self.report(events.Validated(now.step, score.nats, score.bits, score.perplexity, score.count, best, seconds))
        return best

    # -- what is kept

    def save(self) -> None:
        """Write a checkpoint of this moment, then let go of those no longer needed."""
        now = self.standing
        if broken := self.engine.broken(self.optimizer, self.carried):
            raise TrainingDiverged(f"training diverged at step {now.step}: {broken} is not finite")
        meta = {
            "model": asdict(self.config.model),
            "data_sha256": self.dataset.sha256,
            "streams": None if self.counted else self.streams.state_dict(),
            "sizes": self.run.sizes(),
            "carried": 0 if self.carried is None else self.config.data.batch,
            "standing": asdict(replace(now, seconds=self._elapsed())),
            "versions": provenance.versions(),
        }
        path = self.engine.save(self.run.checkpoints, now.step, self.optimizer, self.carried, meta)
        is_best = now.best is not None and now.best["step"] == now.step
        if self.group.lead:
            if is_best:
                checkpoints.set_best(self.run.checkpoints, now.step, now.best["bits"])  # type: ignore[index]
            checkpoints.prune(self.run.checkpoints, self.config.train.keep)
        self.saved_step = now.step
        self.report(events.Saved(now.step, path, is_best))

    def restore(self, found: Checkpoint | None, notes: list[str]) -> None:
        """Put everything back to a checkpoint's moment; with none, the run begins again at step 0."""
        if found is None:
            self.run.rewind({})
            self._warn("no checkpoint had been written yet: the run begins again")
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
        self.carried = self.engine.restore(path, found, self.optimizer)
        self.standing = Standing.from_dict(found.meta["standing"])
        if not self.counted:
            self.streams.load_state_dict(found.meta["streams"])
        self.saved_step = found.step
        best = self.standing.best
        if self.group.lead:
            checkpoints.set_best(self.run.checkpoints, best["step"] if best else None, best["bits"] if best else None)
        self.run.rewind(found.meta["sizes"])
        for note in notes:
            self._warn(note)
        self.engine.unpack_rng(found.tensors["rng"])

    def _elapsed(self) -> float:
        return self.standing.seconds + time.perf_counter() - self.clock

    def _write_summary(self, status: str, error: str | None = None) -> dict[str, Any]:
        now = replace(self.standing, seconds=self._elapsed())
        best = checkpoints.best(self.run.checkpoints)
        summary: dict[str, Any] = {
            "status": status,
            "steps": self.steps,
            "best_checkpoint": best.name if best else None,
        }
        if error:
            summary["error"] = error
        summary |= summarize(self.config, self.dataset, self.model, self.device, now)
        self.run.write_summary(summary)
        return summary
