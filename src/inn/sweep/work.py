"""The work of a sweep: trials are training runs, several processes share them, and none is lost."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn.config.run import RunConfig
from inn.config.settings import Settings, resolve, short_name
from inn.config.sizes import decided
from inn.sweep.following import Follow, News
from inn.sweep.programs import PREFIX, Programs, programs_of
from inn.sweep.search import SAMPLERS, Pruner, fail_lost, load_optuna, open_study, pruner, retry, sampler
from inn.sweep.space import Space
from inn.sweep.trials import counted, origin
from inn.system.errors import InputError, nearest
from inn.system.files import check_writable, only_one
from inn.training.finite import TrainingDiverged
from inn.training.signals import stop_when_let_go
from inn.training.trainer import fit

if TYPE_CHECKING:
    import optuna  # pyright: ignore[reportMissingImports]

WAIT = 2.0
"""Seconds between two looks at what others do."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep: what is trained, where it looks, and where its trials and their results are kept."""

    recipe: str
    overrides: tuple[str, ...]
    """`--section.field=value`, for all trials."""
    space: Space
    trials: int
    """Trials of the whole sweep, those that are done already included."""
    folder: Path
    storage: str
    """An RDB URL."""
    study: str
    """The study's name in the storage: the settings and the space, in short."""
    pruner: Pruner = "median"
    sampler: str = "tpe"
    """One of `inn.sweep.search.SAMPLERS`."""
    programs: Programs | None = None
    """The wirings that are searched along, if any: their settings are in the space."""

    def told(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a trial as people read them: a program is one setting, `topology`."""
        plain = {name: value for name, value in params.items() if not name.startswith(PREFIX)}
        return plain if self.programs is None else {**plain, "topology": self.programs.text(params)}

    def overrides_of(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        given = {name: value for name, value in params.items() if not name.startswith(PREFIX)}
        if self.programs is not None:
            edges = json.dumps(self.programs.edges(self.programs.text(params)), separators=(",", ":"))
            given |= {"model.topology.kind": "edges", "model.topology.edges": edges}
        return [*self.overrides, *(f"--{name}={_word(value)}" for name, value in given.items())]

    def settings(self, params: Mapping[str, Any]) -> Settings:
        """The settings of a trial; raises `InputError` where its values do not go together."""
        return resolve(self.recipe, self.overrides_of(params))

    def run(self, trial: optuna.trial.FrozenTrial) -> Path:
        """The run directory of a trial; one that stands in for another goes on with its run."""
        return self.folder / f"{self.study}-{origin(trial):04d}"

    def open(self) -> optuna.Study:
        """The study; raises `InputError` where its storage cannot be reached."""
        return open_study(self.storage, self.study, pruner=pruner(self.pruner))


def plan_sweep(
    recipe: str,
    overrides: Sequence[str],
    space: Space,
    *,
    trials: int = 20,
    folder: str | Path,
    storage: str | None = None,
    pruner: Pruner = "median",
    sampler: str = "tpe",
    topologies: bool = False,
) -> SweepPlan:
    """A sweep of a recipe over a space.

    Args:
        recipe: by name, or the path of a YAML file.
        overrides: `--section.field=value`, for all trials.
        space: the settings that are searched; what it names is not to be overridden as well.
        trials: of the whole sweep.
        folder: where runs, storage and plot are kept.
        storage: an RDB URL; a SQLite file in `folder` when not given.
        pruner: what ends a trial that promises little: `median`, `hyperband`, or `none`.
        sampler: how it looks: `tpe`, `random`, `mcts` or `evolution`. Another one is another search.
        topologies: search for a wiring, too: a program of rings, stars, cliques and copies (`inn.sweep.programs`).

    Raises `InputError` for a recipe or overrides that mean nothing, a setting that is both given and searched, an
    unknown sampler, a folder that is a run itself, and wirings of a model without a topology, or whose neurons or
    topology are searched themselves.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"there is no sampler '{sampler}'{nearest(sampler, SAMPLERS)}")
    for name in space.names:
        if any(token.startswith(f"--{name}=") for token in overrides):
            raise InputError(f"--{name} is searched by the space; leave it out, or take it out of the space")
    config = resolve(recipe, overrides).config
    programs = None
    if topologies:
        programs = programs_of(config.model, space.names, overrides)
        space = Space({**space.parts, **programs.space().parts}, {**space.when, **programs.space().when})
    folder = Path(folder)
    if (folder / "config.yaml").is_file():
        raise InputError(f"'{folder}' is a run, and a sweep makes runs in a folder; choose another by --run")
    name = f"{short_name(recipe)}-{_digest(config, space, sampler)}"
    kept = storage or _own_storage(folder)
    return SweepPlan(recipe, tuple(overrides), space, trials, folder, kept, name, pruner, sampler, programs)


def run_sweep(
    plan: SweepPlan, workers: int = 1, report: Callable[[optuna.trial.FrozenTrial], None] = lambda trial: None
) -> optuna.Study:
    """Do the trials that are not done yet, `workers` at a time, and return the study.

    Trials whose process died are gone on with from their last checkpoint: at once by another process of this sweep, or
    when the same sweep is run again. Raises `InputError` for a storage that cannot be reached, data that is not
    there, a full disk; `KeyboardInterrupt` when a signal stopped it.

    Args:
        workers: processes side by side; no more than there are trials are started.
        report: called with each trial that has ended, once.
    """
    workers = min(workers, plan.trials)
    if plan.storage == _own_storage(plan.folder):
        check_writable(plan.folder)
    study = plan.open()
    _begin(plan, study)
    news = News(study, report)
    if workers == 1:
        work(plan, 0, 1, news.tell)
    else:
        _side_by_side(plan, workers, news.tell)
    news.tell()
    return study


def work(plan: SweepPlan, worker: int, workers: int, tell: Callable[[], None] = lambda: None) -> None:
    """Do one trial after another until all are done, those included that other processes lost."""
    study, optuna = plan.open(), load_optuna("a sweep")
    while True:
        with ExitStack() as turn:
            turn.enter_context(only_one(plan.folder / plan.study))
            fail_lost(study)
            begun = counted(study)
            if len(begun) < plan.trials:
                study.sampler = sampler(len(begun), kind=plan.sampler, space=plan.space)

                def objective(trial: optuna.Trial, turn: ExitStack = turn) -> float:
                    values = plan.space.suggest(trial)
                    turn.close()  # drawing is one at a time, training is not
                    return _run_trial(plan, study, trial, values, worker, workers)

                # The error: the trial was taken for lost, and somebody else has it.
                with suppress(optuna.exceptions.UpdateFinishedTrialError):
                    study.optimize(objective, n_trials=1, catch=(_NoResult,))
            elif not any(trial.state.name == "RUNNING" for trial in begun):
                return
        if len(begun) >= plan.trials:
            time.sleep(WAIT)  # others are at work; if one dies, its trial is gone on with here
        tell()


class _NoResult(Exception):
    """A trial that came to nothing: it diverged, or its values do not go together."""


def _run_trial(
    plan: SweepPlan, study: optuna.Study, trial: optuna.Trial, values: dict[str, Any], worker: int, workers: int
) -> float:
    """Train a trial, or go on with it; its best validation in bits."""
    try:
        settings = plan.settings(values)
    except InputError as error:
        trial.set_user_attr("error", str(error))
        raise _NoResult(str(error)) from error
    path, follow = plan.run(study.trials[trial.number]), Follow(trial)
    with only_one(path):
        try:
            if (path / "config.yaml").is_file():
                summary = fit(None, path, resume=True, report=follow)
            else:
                summary = fit(_for_this_worker(settings, worker, workers), path, report=follow)
        except TrainingDiverged as error:
            trial.set_user_attr("error", str(error))
            raise _NoResult(str(error)) from error
        except BaseException as error:
            if not isinstance(error, load_optuna("a sweep").TrialPruned):
                retry(study, study.trials[trial.number])  # the trial is no worse for it
            raise
    if summary["status"] == "stopped":
        if parent_process() is not None:  # a worker: whoever stops it asks again and again, and this must be written
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        retry(study, study.trials[trial.number])
        raise KeyboardInterrupt
    trial.set_user_attr("metric", summary["metric"])
    trial.set_user_attr("parameters", summary["parameters"])
    if (measure := summary.get("measure")) in summary["best"]:
        trial.set_user_attr("score", f"{measure} {summary['best'][measure]:.3f}")
    return summary["best"]["bits"]


def _begin(plan: SweepPlan, study: optuna.Study) -> None:
    """Prepare the data, once and before anybody else; the recipe's own settings are the first trial if they may be."""
    from inn.data.prepare import prepare

    config = resolve(plan.recipe, plan.overrides).config
    prepare(config.data)
    check_writable(plan.folder)
    with only_one(plan.folder / plan.study):
        own = plan.space.own({name: _value(config.to_dict(), name) for name in plan.space.names})
        if not study.trials and own is not None:
            study.enqueue_trial({k: str(v) if isinstance(v, list) else v for k, v in own.items()})


def _side_by_side(plan: SweepPlan, workers: int, tell: Callable[[], None]) -> None:
    """Workers in processes of their own; when this one ends or is interrupted they stop, with checkpoints."""
    context = get_context("spawn")
    held, let_go = context.Pipe(duplex=False)
    errors = context.SimpleQueue()
    processes = [
        context.Process(target=_worker, args=(plan, number, workers, held, errors)) for number in range(workers)
    ]
    with held, let_go:
        try:
            for process in processes:
                process.start()
            while any(process.is_alive() for process in processes):
                next(p for p in processes if p.is_alive()).join(WAIT)
                tell()
        except BaseException:
            let_go.close()
            for process in processes:
                process.join()
            raise
    if not errors.empty():
        raise InputError(errors.get())
    if lost := sum(process.exitcode != 0 for process in processes):
        done = sum(trial.state.name != "RUNNING" for trial in counted(plan.open()))
        if done < plan.trials:
            raise InputError(
                f"{lost} of {workers} workers were killed, for want of memory perhaps; {done} of {plan.trials} trials "
                "are done, so run the same command again, with fewer --workers"
            )


def _worker(plan: SweepPlan, number: int, workers: int, held: Connection, errors: Any) -> None:
    stop_when_let_go(held)
    try:
        work(plan, number, workers)
    except InputError as error:
        errors.put(str(error))
    except KeyboardInterrupt:
        pass


def _for_this_worker(settings: Settings, worker: int, workers: int) -> RunConfig:
    """The settings of a run beside others: its share of the cores, a GPU of its own where there are several."""
    import torch

    from inn.data.prepare import prepare
    from inn.models.size import sized
    from inn.system.device import good_threads

    config = sized(settings, prepare(settings.config.data).sizes)
    own: dict[str, Any] = {}
    if workers > 1 and config.train.threads == 0:
        own["threads"] = max(1, good_threads() // workers)
    if config.train.device in ("auto", "cuda") and torch.cuda.device_count() > 1:
        own["device"] = f"cuda:{worker % torch.cuda.device_count()}"
    return replace(config, train=replace(config.train, **own))


def _own_storage(folder: Path) -> str:
    return f"sqlite:///{(folder / 'sweep.db').as_posix()}"


def _digest(config: RunConfig, space: Space, sampler: str) -> str:
    """A short name for what decides the results."""
    tree = config.to_dict()
    del tree["train"]["threads"], tree["train"]["device"]
    for name in decided(tree["model"]):
        del tree["model"][name]
    for name in space.names:
        section, _, field = name.partition(".")
        tree.get(section, {}).pop(field, None)
    decides = [tree, space.to_dict(), *([sampler] if sampler != "tpe" else [])]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]


def _value(tree: Mapping[str, Any], name: str) -> Any:
    """What stands at a dotted name; of a part its kind, None where nothing does."""
    found: Any = tree
    for word in name.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    return found.get("kind") if isinstance(found, Mapping) else found


def _word(value: Any) -> str:
    """A value as the command line says it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
