"""Where studies train and measure: each run is trained once, kept, and shared by every study that needs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from inn.config.run import RunConfig
from inn.config.settings import resolve_settings
from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.system.files import only_one, remove_folder, replace_file, taken
from inn.system.report import Report
from inn.training.finite import TrainingDiverged
from inn.training.signals import stop_when_let_go
from inn.training.trainer import fit

ENDED = ("finished", "diverged")
"""The states of a run that a study does not train any further."""


@dataclass(frozen=True)
class Job:
    """One training run: a recipe and what differs from it.

    Two jobs that come to the same settings are the same run, whatever their labels and whichever studies they serve.
    """

    label: str
    """What people call it; the start of the run directory's name."""
    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by dotted name, `{"model.kind": "lstm", "train.lr": 3e-3}`."""

    def config(self) -> RunConfig:
        """The settings of the run, on one CPU thread (or the GPU); raises `InputError` where they do not fit."""
        given = {"train.threads": 1, **self.settings}
        return deepcopy(_resolved(self.recipe, tuple(f"--{name}={_word(value)}" for name, value in given.items())))

    def folder(self) -> str:
        """The run directory's name: the label, and the digest of the settings.

        >>> Job("LSTM, lr 0.01", "demo", {"model.kind": "lstm"}).folder()[:13]
        'lstm-lr-0-01-'
        """
        words = "".join(c if c.isalnum() else " " for c in self.label.lower()).split()
        return "-".join([*words, digest(self.config())])


@cache
def _resolved(recipe: str, overrides: tuple[str, ...]) -> RunConfig:
    """Settings, worked out once: a study asks for those of the same run many times."""
    return resolve_settings(recipe, overrides)


def digest(config: RunConfig) -> str:
    """A short name for the settings that change a run's result, the same before and after training."""
    tree = config.to_dict()
    for name in ("threads", "device", "parallel"):
        del tree["train"][name]
    for name in ("vocab", "features", "outputs"):  # the data says
        tree["model"].pop(name, None)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:10]


class Lab:
    """Trains the runs of a study and measures them; what is done already is not done again.

    Args:
        root: the folder of run directories.
        workers: processes side by side, one thread each.
        resume: go on with what is there; without it, a run's first use trains it afresh.
        report: called after each piece of work.
        kept: a file of what was computed, a line of JSON each: `compute` takes from it what `root` lacks, and adds to
            it. So a study of many hours goes on where there is a checkout and no run.
    """

    def __init__(
        self,
        root: Path,
        *,
        workers: int = 1,
        resume: bool = True,
        report: Report = lambda what, done, of: None,
        kept: Path | None = None,
    ):
        self.root, self.workers, self.resume, self.report, self.kept = root, workers, resume, report, kept
        self._places = _places(root)
        self._trained: set[Path] = set()

    def train(self, jobs: Sequence[Job]) -> list[Run]:
        """Return the runs of `jobs`, in their order, after training those that have not ended yet.

        A run that diverges is a result too: its summary says `diverged`. Raises `KeyboardInterrupt` when a signal
        stopped a run; it goes on from its checkpoint next time.
        """
        waiting = {}
        for job in jobs:
            path = self._place(job)
            if not self.resume and path not in self._trained and path.exists():
                remove_folder(path)
            self._trained.add(path)
            if not _ended(path):
                waiting[path] = (f"trained {job.label}", (job.config().to_dict(), str(path)))
        self._spread(_train, waiting.values())
        if waiting:
            self._places = _places(self.root)  # another study may have trained some of them, under its own label
        return [Run(self._place(job)) for job in jobs]

    def measure(self, function: Callable[..., Any], runs: Sequence[Run], **options: Any) -> list[Any]:
        """Return `function(run, **options)` for each run, as plain data; kept beside the run and used again.

        `function` is a module's own (it may run in another process) and takes the path of a run. Runs that diverged
        give None.
        """
        name = "-".join([function.__name__, *(f"{key}={_word(value)}" for key, value in options.items())])
        files = [run.path / "measured" / f"{name.replace('/', '_')}.json" for run in runs]
        waiting = {
            file: (f"measured {function.__name__} of {run.path.name}", (function, str(run.path), options, str(file)))
            for run, file in zip(runs, files, strict=True)
            if not file.exists() and status(run) == "finished"
        }
        self._spread(_measure, waiting.values())
        return [json.loads(file.read_text()) if file.exists() else None for file in files]

    def compute(self, function: Callable[..., Any], cases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return `function(**case)` for each case, by its label, as plain data; kept beside the runs and used again.

        For what needs no run: `function` is a module's own, its options are plain data too, and say what is kept, not
        the label. Each result has `commit` beside what the function gives.
        """
        files, waiting, known = {}, {}, self._lines() if self.resume else {}
        for label, case in cases.items():
            name = hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()[:10]
            file = files[label] = self.root / "computed" / f"{function.__name__}-{name}.json"
            if file.stem in known and not file.exists():
                _keep({"case": dict(case), "found": known[file.stem]["found"]}, file, label)
            fresh = not self.resume and file not in self._trained
            self._trained.add(file)
            if fresh or not file.exists():
                waiting[file] = (f"{function.__name__}: {label}", (function, dict(case), str(file)))
        try:
            self._spread(_compute, waiting.values())
        finally:
            found = {label: json.loads(file.read_text())["found"] for label, file in files.items() if file.exists()}
            known |= {files[label].stem: {"label": label, "found": of} for label, of in found.items()}
            if self.kept is not None and known:
                lines = (json.dumps({"name": name, **line}) + "\n" for name, line in known.items())
                replace_file(self.kept, "".join(lines))
        return found

    def _lines(self) -> dict[str, dict[str, Any]]:
        """What `kept` holds, by the name of its file in `root`."""
        if self.kept is None or not self.kept.is_file():
            return {}
        try:
            lines = map(json.loads, self.kept.read_text(encoding="utf-8").splitlines())
            return {line["name"]: {"label": line["label"], "found": line["found"]} for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"'{self.kept}' does not hold what was computed ({type(error).__name__}: {error}); "
                "restore it, or remove it to compute it again"
            ) from error

    def busy(self, job: Job) -> bool:
        """Whether another process trains this run now."""
        return taken(self.root / digest(job.config()))

    def _place(self, job: Job) -> Path:
        """The run's directory: one with the same settings, whatever its label, or a new one."""
        name = job.folder()
        return self._places.setdefault(name.rsplit("-", 1)[1], self.root / name)

    def _spread(self, task: Callable[..., None], work: Iterable[tuple[str, tuple]]) -> None:
        """Do all pieces of work, `workers` at a time."""
        work = list(work)
        if self.workers == 1 or len(work) <= 1:
            for done, (what, arguments) in enumerate(work, 1):
                task(*arguments)
                self.report(what, done, len(work))
            return
        context, workers = get_context("spawn"), min(self.workers, len(work))
        held, let_go = context.Pipe(duplex=False)
        with held, let_go, ProcessPoolExecutor(workers, context, stop_when_let_go, (held,)) as pool:
            futures = {pool.submit(task, *arguments): what for what, arguments in work}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    future.result()
                    self.report(futures[future], done, len(work))
            except BaseException as error:
                let_go.close()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, BrokenProcessPool):
                    raise InputError(
                        "a worker was killed, for want of memory perhaps; what is done is kept, so go on with "
                        f"fewer than --workers {workers}"
                    ) from error
                raise


def status(run: Run) -> str | None:
    """`finished`, `diverged`, `stopped`, or None while the run has not ended once."""
    summary = run.summary()
    return None if summary is None else summary["status"]


def _places(root: Path) -> dict[str, Path]:
    """Run directories by what their own settings come to today: one that came later stands at its default there."""
    found = {}
    for path in sorted(root.glob("*/config.yaml")):
        with contextlib.suppress(InputError):  # settings of another version, or damaged
            found.setdefault(_digest_at(path.parent, path.stat().st_mtime_ns), path.parent)
    return found


@cache
def _digest_at(folder: Path, written: int) -> str:
    """The digest of a run's settings; `written`: when they were, so that it is worked out once."""
    return digest(Run(folder).config())


def _ended(path: Path) -> bool:
    return (path / "config.yaml").is_file() and status(Run(path)) in ENDED


def _train(tree: dict[str, Any], path: str) -> None:
    """Train one run, or go on with it (in a process of its own where there are several)."""
    root, name = Path(path).parent, digest(RunConfig.from_dict(tree))
    with only_one(root / name):  # another study that needs the run may be under way: wait, and find it done
        if not Path(path).exists():
            path = str(next(iter(sorted(root.glob(f"*-{name}"))), path))
        if _ended(Path(path)):
            return
        try:
            if Path(path).exists():
                summary = fit(None, path, resume=True)
            else:
                summary = fit(RunConfig.from_dict(tree), path)
        except TrainingDiverged:
            return  # the run's summary says so
        if summary["status"] == "stopped":
            raise KeyboardInterrupt


def _measure(function: Callable[..., Any], run: str, options: dict[str, Any], file: str) -> None:
    import torch

    torch.set_num_threads(1)
    _keep(function(run, **options), Path(file), f"{function.__name__} of run '{run}'")


def _compute(function: Callable[..., Any], case: dict[str, Any], file: str) -> None:
    import torch

    from inn.system import provenance

    torch.set_num_threads(1)
    found = {**function(**case), "commit": provenance.commit()}
    _keep({"case": case, "found": found}, Path(file), f"{function.__name__} of {case}")


def _keep(found: Any, file: Path, what: str) -> None:
    try:
        text = json.dumps(found, allow_nan=False)
    except ValueError as error:
        raise InputError(f"{what} is not finite: {error}") from error
    file.parent.mkdir(exist_ok=True, parents=True)
    replace_file(file, text + "\n")


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
