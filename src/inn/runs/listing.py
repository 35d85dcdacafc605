"""The runs of a folder, side by side: what each is, what it reached, and what is no run or damaged."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from inn.runs.checkpoint import best, best_step
from inn.runs.directory import Run
from inn.runs.history import history
from inn.system.errors import InputError
from inn.system.files import check_figure, write_figure
from inn.system.packages import require
from inn.system.parse import read_json

SORTS = ("bits", "name", "kind", "parameters", "corpus", "symbols", "test", "minutes", "when")
"""What runs can be sorted by; times and sizes largest first."""
_FALLING = ("parameters", "symbols", "minutes", "when")
_SIGNS = ("checkpoints", "metrics.jsonl", "summary.json")
"""What only a run directory has."""
NAMED = 20
"""Runs of one text that are named beside their curves, the best; the others are grey."""
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class ListedRun:
    """A run, as a table shows it. What is not known is None.

    Attributes:
        name: its path within the folder.
        path: the run directory.
        kind, corpus, vocabulary: of its settings.
        status: `finished`, `stopped` (by a signal), another word of its summary, or `unfinished`: running, or killed.
        parameters, symbols, minutes: trained numbers, symbols read so far, minutes taken.
        bits, count: the best validation score, in bits per symbol, and the symbols it was averaged over.
        test: bits per symbol of the test part, where a study measured them.
        metric: what bits per symbol are called: BPC, BPB, PPL or bits.
        measure, score: of a task what it is measured by, and the value where bits were best.
        checkpoint: name of the best checkpoint.
        when: of its last sign of life, ISO 8601, UTC.
        curve: `(symbols read, validation bits)`.
    """

    name: str
    path: Path
    kind: str
    corpus: str
    vocabulary: str
    status: str
    parameters: int | None = None
    symbols: int | None = None
    minutes: float | None = None
    bits: float | None = None
    count: int | None = None
    test: float | None = None
    metric: str | None = None
    measure: str | None = None
    score: float | None = None
    checkpoint: str | None = None
    when: str | None = None
    curve: tuple[tuple[int, float], ...] = ()

    @property
    def text(self) -> tuple[str, str]:
        """What it was trained on: only runs with the same can be compared by their bits."""
        return self.corpus, self.vocabulary


@dataclass(frozen=True)
class Listing:
    """What is in a folder: its runs, those that cannot be read with the reason, and folders without any run."""

    runs: tuple[ListedRun, ...] = ()
    damaged: dict[str, str] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()


def list_runs(folder: str | Path) -> Listing:
    """Look through a folder and all below it; a run's own directories are not entered, nor hidden ones, nor links.

    Raises `InputError` where the folder is not there.

    Example: ``[run.name for run in list_runs("runs").runs]``
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}'; give the one that holds the runs")
    runs: list[ListedRun] = []
    damaged: dict[str, str] = {}
    inhabited: set[Path] = set()
    plain: list[Path] = []
    for place, below, files in os.walk(folder):
        here = Path(place)
        below[:] = sorted(name for name in below if not name.startswith("."))
        if "config.yaml" not in files and not any(sign in files or sign in below for sign in _SIGNS):
            plain.append(here)
            continue
        below.clear()
        inhabited.update((here, *here.parents))
        name = here.relative_to(folder).as_posix() if here != folder else here.resolve().name
        try:
            runs.append(read_run(here, name))
        except Exception as error:  # whatever is in one run's files, the others are listed
            said = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            damaged[name] = " ".join(str(said).split())
    foreign = [
        p.relative_to(folder).as_posix() for p in plain if p not in inhabited and p.parent in {folder, *inhabited}
    ]
    return Listing(tuple(runs), damaged, tuple(name for name in foreign if name != "."))


def read_run(path: Path, name: str) -> ListedRun:
    """What a table shows of one run; raises `InputError`, or what its damaged files make Python raise."""
    run = Run(path)
    config, found, past = run.config(), run.summary(), history(run)
    summary = {} if found is None else found
    vocabulary = run.vocabulary()
    curve = tuple((p["symbols"], p["bits"]) for p in past["validation"] if p["symbols"] is not None)
    scores = [p["bits"] for p in past["validation"]]
    reached = summary.get("best") or {}
    read = summary.get("symbols") or max((p["symbols"] for p in past["train"] if p["symbols"]), default=None)
    best_step(run.checkpoints)  # which raises where nobody can tell
    chosen = best(run.checkpoints)
    seconds = summary.get("seconds")
    return ListedRun(
        name=name,
        path=path,
        kind=config.model.kind,
        corpus=config.data.corpus,
        vocabulary=config.data.vocabulary if config.data.text else vocabulary.kind,
        status=summary.get("status", "unfinished"),
        parameters=summary.get("parameters"),
        symbols=read,
        minutes=None if seconds is None else seconds / 60,
        bits=reached.get("bits", min(scores, default=None)),
        count=reached.get("count"),
        test=_measured(path),
        metric=vocabulary.metric,
        measure=summary.get("measure"),
        score=reached.get(summary.get("measure")),
        checkpoint=chosen.name if chosen else None,
        when=_when(path),
        curve=curve,
    )


def arranged(runs: Iterable[ListedRun], sort: str = "bits") -> list[ListedRun]:
    """The runs in order: by `bits`, those of one text together; whatever is not known comes last."""

    def key(run: ListedRun) -> tuple[Any, ...]:
        value = getattr(run, sort)
        falling = sort in _FALLING and sort != "when"
        rank = value if not falling or value is None else -value
        text = run.text if sort in ("bits", "test") else ()
        return (*text, value is None, rank if value is not None else 0, run.name)

    if sort not in SORTS:
        raise InputError(f"runs cannot be sorted by '{sort}'; known: {', '.join(SORTS)}")
    runs = sorted(runs, key=key)
    return sorted(runs, key=lambda run: run.when or "", reverse=True) if sort == "when" else runs


def spark(curve: Sequence[tuple[int, float]], others: Sequence[tuple[int, float]] = (), cells: int = 12) -> str:
    """A curve in a line of text, logarithmic both ways, at the scale that it shares with the points of `others`.

    >>> spark([(1, 8.0), (10, 4.0), (100, 2.0)], cells=3)
    '█▅▁'
    >>> spark([(1, 8.0), (10, 4.0)], [(100, 2.0)], cells=3)  # a run that read less ends earlier
    '█▅ '
    """
    points = [*curve, *others]
    if not curve or min(bits for _, bits in points) <= 0:
        return ""
    first, last = (math.log(max(1, f(at for at, _ in points))) for f in (min, max))
    low, high = (math.log(f(bits for _, bits in points)) for f in (min, max))
    line = ""
    for cell in range(cells):
        place = first + (last - first) * cell / max(1, cells - 1)
        if place > math.log(max(1, curve[-1][0])) + 1e-9:
            line += " "
            continue
        bits = min(curve, key=lambda point: abs(math.log(max(1, point[0])) - place))[1]
        share = (math.log(bits) - low) / (high - low) if high > low else 0.0
        line += _BLOCKS[math.ceil(share * (len(_BLOCKS) - 1))]
    return line


def draw_curves(runs: Sequence[ListedRun], path: str | Path) -> Path:
    """Draw validation bits against symbols read, one panel for each text; runs without a curve are left out.

    `path` ends in `.png`, `.svg` or `.pdf`. Raises `InputError` without matplotlib, for another ending, and where no
    run has a curve.
    """
    path = Path(path)
    check_figure(path)
    Figure = require("matplotlib.figure", "a drawing of curves", "explore").Figure
    runs = [run for run in runs if run.curve]
    texts = sorted({run.text for run in runs})
    if not texts:
        raise InputError("no run has been validated yet, so there is no curve to draw; let one train on")
    figure = Figure(figsize=(12, 6 * len(texts)), layout="constrained")
    for panel, text in enumerate(texts, start=1):
        axes = figure.add_subplot(len(texts), 1, panel)
        of_text = sorted((run for run in runs if run.text == text), key=lambda run: min(b for _, b in run.curve))
        for rank, run in enumerate(of_text):
            label = f"{min(b for _, b in run.curve):.3f}  {run.name}"
            (line,) = axes.plot([at for at, _ in run.curve], [bits for _, bits in run.curve], marker=".")
            if rank < NAMED:
                line.set_label(label)
            else:
                line.set(color="0.85", zorder=0)
        axes.set(title=", ".join(text), xlabel="symbols read", ylabel="bits per symbol, validation", xscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    write_figure(figure, path, dpi=120)
    return path


def _measured(path: Path) -> float | None:
    """Bits of the test part that studies keep beside a run: those averaged over most symbols."""
    found = []
    for file in sorted(path.glob("measured/score-*.json")):
        try:
            score = read_json(file)
            if score["split"] == "test":
                found.append((int(score["count"]), float(score["bits"])))
        except (InputError, ValueError, KeyError, TypeError):  # no part of the run; it may be measured again
            continue
    return max(found)[1] if found else None


def _when(path: Path) -> str | None:
    files = [path / name for name in ("summary.json", "metrics.jsonl", "config.yaml")]
    latest = max((file.stat().st_mtime for file in files if file.is_file()), default=None)
    return None if latest is None else datetime.fromtimestamp(latest, timezone.utc).isoformat(timespec="seconds")
