"""How a person sees training: one live line in a terminal, one plain line per event in a log file."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from inn.training.events import Event, Finished, Progress, Sampled, Saved, Started, Validated, Warned

UNIT_SHORT = {"character": "char", "byte": "byte", "word": "word"}


class Display:
    """Prints training events; used as the `report` of `train`, and as a context that leaves the terminal tidy."""

    def __init__(self, console: Console):
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._started: Started | None = None

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
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
def fetching() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for what is downloaded, unpacked and encoded, in bytes; nothing where nobody looks."""
    bar = RichProgress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
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
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for every stage of some work; nothing where nobody looks."""
    bar = RichProgress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    tasks: dict[str, TaskID] = {}
    with bar:

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        yield report


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work that is counted in symbols; nothing where nobody looks."""
    bar = RichProgress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def one_line(text: str, limit: int = 160) -> str:
    """A text on one line, without control characters, cut at `limit`."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
