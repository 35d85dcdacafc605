"""How a person sees training: one live line in a terminal, one plain line per event in a log file."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from inn.cli.common import QUIET, console
from inn.config.settings import Settings
from inn.system.errors import InputError
from inn.system.report import Report
from inn.training.events import Event, Finished, Preparing, Progress, Sampled, Started, Validated, Warned

UNIT_SHORT = {"character": "char", "byte": "byte", "word": "word"}


class Display:
    """Prints training events; used as the `report` of `train`, and as a context that leaves the terminal tidy.

    Args:
        console: where the lines go.
        samples: print the pieces of text that the model writes meanwhile, too.
    """

    def __init__(self, console: Console, *, samples: bool = False):
        self.console, self.samples = console, samples
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._started: Started | None = None
        self._preparing = ExitStack()  # a bar while data is made ready
        self._bar: Report | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._preparing.close()
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Preparing):
            self._bar = self._bar or self._preparing.enter_context(reporting())
            self._bar(event.what, event.done, event.total)
        elif isinstance(event, Started):
            self._preparing.close()
            if self.console.is_terminal:
                self._live.start()
            self._started = event
            self._line(self._opening(event))
        elif isinstance(event, Progress):
            if self.console.is_terminal:
                self._live.update(self._progress(event), refresh=True)
            else:
                self._line("  ".join(progress_parts(event, self._started)))
        elif isinstance(event, Validated):
            best = "  best so far" if event.best else ""
            score = loss_text(event.nats, self._started)
            over = "symbols" if all(name.startswith("objective.") for name in event.metrics) else "targets"
            measured = "".join(f"  {name} {value:.4g}" for name, value in event.metrics.items())
            self._line(f"step {event.step:,}  validation {score}{measured} over {event.count:,} {over}{best}", "bold")
        elif isinstance(event, Sampled) and self.samples:
            self._line(f"step {event.step:,}  sample: {one_line(event.text)}", "dim")
        elif isinstance(event, Warned):
            self._line(f"step {event.step:,}  warning: {event.message}", "yellow")
        elif isinstance(event, Finished):
            self._live.update(Text(""), refresh=True)

    def _opening(self, e: Started) -> str:
        if e.step:
            return f"{e.run}: continues from step {e.step:,} of {e.steps:,}, on {e.device}"
        baselines = ", ".join(f"{name} {loss_text(bits * math.log(2), e)}" for name, bits in e.floors.items())
        size = f"{e.parameters:,} parameters, {e.symbols:,} {e.unit}s in {e.steps:,} steps"
        return f"{e.run}: {e.kind}, {size}, on {e.device}" + (f"\nbaselines: {baselines}" if baselines else "")

    def _progress(self, event: Progress) -> Text:
        """The live line: a bar where there is room, then as many facts as fit, the most wanted first."""
        room = self.console.width - 1
        bar = min(20, room // 5) if room >= 50 else 0
        text, parts = Text(no_wrap=True, overflow="crop"), progress_parts(event, self._started)
        if bar:
            done = round(event.fraction * bar)
            full, empty = ("#", "-") if self.console.options.ascii_only else ("━", "━")
            text.append(full * done, "green").append(empty * (bar - done), "bright_black")
        for part, style in zip(parts, ("bold", "bold cyan", "bold", *[""] * len(parts))):
            gap = "  " if text else ""
            if text.cell_len + len(gap) + len(part) > room:
                break
            text.append(gap).append(part, style)
        return text

    def _line(self, text: str, style: str = "") -> None:
        # In a log file a line stays one line; in a terminal it is broken between words.
        self.console.print(Text(text, style=style), soft_wrap=not self.console.is_terminal, highlight=False)


def progress_parts(e: Progress, started: Started | None) -> list[str]:
    """What there is to say of a step, the most wanted first: share done, time left, loss, step, speed, ..."""
    unit = UNIT_SHORT.get(started.unit, started.unit) if started else "symbol"
    parts = [
        f"{100 * e.fraction:.0f}%",
        f"{clock(e.seconds_left)} left",
        loss_text(e.loss, started),
        f"step {e.step:,}/{e.steps:,}",
        f"{e.symbols_per_s:,.0f} {unit}/s",
        f"lr {e.lr:.2g}",
    ]
    if e.effective_neurons is not None:
        parts.append(f"effective neurons {e.effective_neurons:.2f}")
    return [*parts, f"gradient {e.grad_norm:.2f}"]


def loss_text(nats: float, started: Started | None) -> str:
    """A loss in the unit of the text: bits per character or byte, or perplexity per word.

    >>> loss_text(0.6931471805599453, None)
    '1.000 BPC'
    """
    metric = started.metric if started else "BPC"
    if metric == "PPL":
        return f"{math.exp(min(nats, 700)):.1f} PPL"
    return f"{nats / math.log(2):.3f} {metric}"


def clock(seconds: float) -> str:
    """A time for people.

    >>> clock(75), clock(7322)
    ('1:15', '2:02:02')
    """
    if not math.isfinite(seconds):
        return "?"
    minutes, s = divmod(max(0, round(seconds)), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


@contextmanager
def reporting() -> Iterator[Report]:
    """A bar on stderr for everything that is reported, bytes for what is fetched; nothing where nobody looks."""
    bar = RichProgress(
        TextColumn("{task.description}"), BarColumn(), _Amount(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=QUIET.get() or not sys.stderr.isatty(),
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with bar:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield report


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work of one kind; nothing where nobody looks."""
    with reporting() as report:
        report(what, 0, 0)
        yield partial(report, what)


class _Amount(ProgressColumn):
    """How much is done: of what `inn.data` reports in bytes, else a share."""

    def render(self, task: Task) -> Text:
        in_bytes = task.description.split(" ")[0] in ("downloading", "unpacking", "encoding")
        return (DownloadColumn() if in_bytes else TaskProgressColumn()).render(task)


START = 300
"""Characters of the passage that a live page begins with."""


def write_look(
    run: str, other: str | None, out: Path, made_with: str, live: bool = False, plainly: bool = False, **options: Any
) -> dict[str, Any]:
    """Write the page of a run (see `inn.explorer.look`); returns what it shows and where it is, as plain data.

    `live`: with the model itself on it, which reads the beginning of the passage there; with `plainly` the page is
    written without, and a sentence says why, where the model cannot be put on one.
    """
    from inn.explorer.look import collect, write_page

    said: list[str] = []
    with reporting() as report:
        looks = collect(run, other, **options, report=report, warn=said.append)
    facts = {name: looks[0]["passage"][name] for name in ("symbols", "unit", "title")}
    play, model = looks[0]["play"], {}
    if live:
        try:
            model = _live(run, looks[0])
        except InputError as error:
            if not plainly:
                raise
            said.append(f"the page reads no text of yours: {error}")
    for sentence in said:
        console(to_stderr=True).print(f"inn: {sentence}", soft_wrap=True)
    write_page(looks, out, made_with=made_with, **model)
    return {"run": run, **facts, "play": play, "page": out, "bytes": out.stat().st_size}


def _live(run: str, look: dict[str, Any]) -> dict[str, Any]:
    """What puts the run's model on its page, in the place of the passage and of the command that plays with it."""
    from inn.config.exports import WebOptions
    from inn.export.web.page import live_model
    from inn.runs.load import load

    model = live_model(load(run), WebOptions(text="".join(look["passage"]["text"])[:START]))
    del look["passage"], look["play"]
    return model


def tell_look(facts: dict[str, Any]) -> None:
    """What a page shows and where it is, for people."""
    out = console()
    out.print(f"read {facts['symbols']:,} {facts['unit']}s: {facts['title']}", soft_wrap=True)
    out.print(f"wrote {facts['page']}, {facts['bytes'] / 1e6:.1f} MB; open it in a browser", soft_wrap=True)


def one_line(text: str, limit: int = 160) -> str:
    """A text on one line, without control characters, cut at `limit`."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def train_run(settings: Settings | None, run: str, *, json: bool = False, samples: bool = False) -> dict[str, Any]:
    """Train a new run, or go on with one that was stopped (no settings), and return its summary.

    Progress goes to stderr where stdout is for JSON.
    """
    from inn.training.start import train

    with Display(console(to_stderr=json, progress=True), samples=samples) as display:
        return train(settings, run, resume=settings is None, report=display).summary() or {}


def tell_what_next(run: str, summary: dict[str, Any]) -> None:
    """Where the run is, and what to do with it."""
    run = shlex.quote(run)
    if summary["status"] == "stopped":
        print(f"stopped at step {summary['step']:,} of {summary['steps']:,}; go on with: inn train --resume {run}")
        return
    also = f"inn generate {run} --temperature 0.8" if "constant" not in summary["floors"] else f"inn look {run}"
    print(f"\nthe run is in {run}; now try\n  inn eval {run}\n  {also}")
