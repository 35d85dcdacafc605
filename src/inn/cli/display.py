"""How a person sees training: one live line in a terminal, one plain line per event in a log file."""

from __future__ import annotations

import math
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

from inn.cli.common import console
from inn.config.settings import Settings
from inn.system.report import Report
from inn.training.events import Event, Finished, Preparing, Progress, Sampled, Saved, Started, Validated, Warned

UNIT_SHORT = {"character": "char", "byte": "byte", "word": "word"}


class Display:
    """Prints training events; used as the `report` of `train`, and as a context that leaves the terminal tidy."""

    def __init__(self, console: Console):
        self.console = console
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
            text = progress_line(event, self._started)
            if self.console.is_terminal:
                self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            else:
                self._line(text)
        elif isinstance(event, Validated):
            best = "  best so far" if event.best else ""
            score = loss_text(event.nats, self._started)
            self._line(f"step {event.step:,}  validation {score} over {event.count:,} symbols{best}", "bold")
        elif isinstance(event, Sampled):
            self._line(f"step {event.step:,}  sample: {one_line(event.text)}", "dim")
        elif isinstance(event, Warned):
            self._line(f"step {event.step:,}  warning: {event.message}", "yellow")
        elif isinstance(event, Finished):
            self._live.update(Text(""), refresh=True)
        elif isinstance(event, Saved):
            pass  # the run directory tells

    def _opening(self, e: Started) -> str:
        floors = ", ".join(f"{name} {loss_text(bits * math.log(2), e)}" for name, bits in e.floors.items())
        going = f", from step {e.step:,}" if e.step else ""
        return (
            f"{e.run}: {e.kind}, {e.parameters:,} parameters, {e.symbols:,} {e.unit}s in {e.steps:,} steps{going}, "
            f"on {e.device}" + (f"\nfloors: {floors}" if floors else "")
        )

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True, highlight=False)


def progress_line(e: Progress, started: Started | None) -> str:
    """One line: step, %, loss, learning rate, speed, gradient norm, effective neurons, time left."""
    unit = UNIT_SHORT.get(started.unit, started.unit) if started else "symbol"
    parts = [
        f"step {e.step:,}/{e.steps:,}",
        f"{100 * e.fraction:.0f}%",
        loss_text(e.loss, started),
        f"lr {e.lr:.2g}",
        f"{e.symbols_per_s:,.0f} {unit}/s",
        f"grad {e.grad_norm:.2f}",
    ]
    if e.effective_neurons is not None:
        parts.append(f"neurons {e.effective_neurons:.2f}")
    parts.append(f"{clock(e.seconds_left)} left")
    return "  ".join(parts)


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
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
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


def write_look(run: str, other: str | None, out: Path, made_with: str, **options: Any) -> None:
    """Write the page of a run (see `inn.explorer.look`), and say what it shows and where it is."""
    from inn.explorer.look import collect, write_page

    said: list[str] = []
    with reporting() as report:
        looks = collect(run, other, **options, report=report, warn=said.append)
    for sentence in said:
        console(to_stderr=True).print(f"inn: {sentence}", soft_wrap=True)
    write_page(looks, out, made_with=made_with)
    read, size = looks[0]["passage"], out.stat().st_size
    console().print(f"read {read['symbols']:,} {read['unit']}s: {read['title']}", soft_wrap=True)
    console().print(f"wrote {out}, {size / 1e6:.1f} MB; open it in a browser", soft_wrap=True)


def one_line(text: str, limit: int = 160) -> str:
    """A text on one line, without control characters, cut at `limit`."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def train_run(settings: Settings, run: str, *, quiet: bool = False) -> dict[str, Any]:
    """Train a new run and return its summary; `quiet` keeps stdout free and shows progress on stderr."""
    from inn.training.start import train

    with Display(console(to_stderr=quiet)) as display:
        return train(settings, run, report=display).summary() or {}


def resume_run(run: str, *, quiet: bool = False) -> dict[str, Any]:
    """Go on with a run that was stopped, and return its summary."""
    from inn.training.start import train

    with Display(console(to_stderr=quiet)) as display:
        return train(None, run, resume=True, report=display).summary() or {}


def tell_what_next(run: str, summary: dict[str, Any]) -> None:
    """Where the run is, and what to do with it."""
    if summary["status"] == "stopped":
        print(f"stopped at step {summary['step']:,} of {summary['steps']:,}; go on with: inn train --resume {run}")
        return
    print(f"\nthe run is in {run}; now try\n  inn eval {run}\n  inn generate {run} --temperature 0.8")
