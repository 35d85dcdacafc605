"""`inn score`: what every line of a text costs a run, as it arrives; the surprising ones stand out."""

from __future__ import annotations

import csv
import errno
import heapq
import io
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jsonargparse import Namespace

from inn.cli.common import QUIET, console, needs_run, one_of
from inn.config.parser import OptionParser
from inn.inference.scoring.keys import KEYS, check_keys, finder
from inn.inference.scoring.usual import ALERTS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.inference.scoring.lines import Line, LineScorer

Show = Callable[[str, "Line"], str]

USAGE = (
    "inn score RUN [FILE ...] [--only-flagged | --top N] [--alerts SHARE] [--follow] [--format text|csv|jsonl] "
    "[--threshold X] [--of line|surprise|text] [--unknown count|skip|error] [--key REGEX [--keys N]]"
)
COLUMNS = (
    "file",
    "line",
    "bits",
    "symbols",
    "unknown",
    "bits_per_symbol",
    "peak",
    "surprise",
    "flagged",
    "text",
    "whole",
    "column",
    "symbol",
    "expected",
    "chance",
    "key",
)
LEVELS = ((0.25, "dim"), (0.5, ""), (1.0, "yellow"), (2.0, "red"), (math.inf, "bold white on red"))
"""Colours of a symbol by its bits, in units of what guessing costs: log2 of the vocabulary's size."""


def main(argv: list[str]) -> int:
    """Run `inn score`."""
    return score_files(parse(argv))


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn score", USAGE, "Score each line of a text (bits per symbol) and flag unusual lines.")
    parser.positional("run", "A run directory.")
    parser.positional("files", "Texts, each scored separately; - or none reads a pipe until it ends.", many=True)
    parser.flag("--only-flagged", "Print the flagged lines only.")
    parser.option("--top", type=int | None, help="Print only the N most surprising lines, at the end of the text.")
    parser.option(
        "--alerts",
        type=float,
        default=ALERTS,
        help="Largest share of lines to flag in the long run; the threshold adapts to logs that vary much.",
    )
    parser.flag("--follow", "Keep reading as the file grows, also if it is rotated, until interrupted.")
    parser.option("--format", default="text", help="text (coloured in a terminal), csv or jsonl (JSON lines).")
    parser.flag("--json", "Short for --format jsonl: one JSON object a line.")
    parser.option("--threshold", type=float | None, help="Exit with code 1 if a value is above this.")
    parser.option(
        "--of",
        default="line",
        help="The value that the threshold applies to: line (bits per symbol of a line), surprise (how unusual a line "
        "is among the 1,000 before it, in units of their spread) or text (bits per symbol of a whole text).",
    )
    parser.option(
        "--unknown",
        default="count",
        help="Unknown symbols: count (20.1 bits each), skip, or error. Unknown words are read as <unk>.",
    )
    parser.option(
        "--key",
        type=str | None,
        help="Keep a state for each process, host or user: a regular expression whose first group (or all of it) says "
        "whose a line is. Lines without a match share one state.",
    )
    parser.option(
        "--keys",
        type=int | None,
        dest="most",
        help=f"Keys whose states are kept, the most recently used ones; {KEYS:,} when not given.",
    )
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    args = parser.parse(argv)
    args.format = "jsonl" if args.json else args.format
    one_of("--format", args.format, "text", "csv", "jsonl")
    one_of("--of", args.of, "line", "surprise", "text")
    one_of("--unknown", args.unknown, "count", "skip", "error")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise InputError(f"--threshold must be finite, not {args.threshold}")
    if not 0 < args.alerts < 1:
        raise InputError(f"--alerts must be between 0 and 1, as in 0.01, not {args.alerts}")
    if args.top is not None and args.top < 1:
        raise InputError(f"--top must be at least 1, not {args.top}")
    if args.top is not None and (args.follow or args.only_flagged):
        other = "--follow" if args.follow else "--only-flagged"
        raise InputError(f"--top sorts all lines once the text is over; leave out it or {other}")
    if args.most is not None and args.key is None:
        raise InputError("--keys limits the states of --key REGEX; give that, or leave it out")
    args.most = KEYS if args.most is None else args.most
    check_keys(args.most)
    if args.key is not None:
        finder(args.key)
    args.files = args.files or ["-"]
    if args.files.count("-") > 1:
        raise InputError("- is given twice, and a pipe is read once; name each text once")
    if args.follow and (len(args.files) > 1 or args.files == ["-"]):
        raise InputError("--follow reads one file as it grows; a pipe is read for as long as it lasts without it")
    return args


def score_files(args: Namespace) -> int:
    """Print every line as it comes; 1 where the threshold was passed."""
    needs_run(args.run)
    for name in args.files:
        check_readable(name)
    from inn.inference.scoring.lines import LineScorer
    from inn.runs.load import check_writes, load
    from inn.system.device import resolve_device

    check_writes(args.run)
    model = load(args.run).to(resolve_device(args.device))
    show = {"text": as_text, "csv": as_csv, "jsonl": as_json}[args.format](model.config.vocab)
    sys.stdout.write(",".join(COLUMNS) + "\n" if args.format == "csv" else "")
    passed, limit = False, math.inf if args.threshold is None else args.threshold
    for name in args.files:
        scorer = LineScorer(model, unknown=args.unknown, alerts=args.alerts, key=args.key, keys=args.most)
        top = []
        if args.format == "text" and len(args.files) > 1:
            sys.stdout.write(f"==> {printable(name)} <==\n")
        try:
            for line in lines_of(name, scorer, follow=args.follow):
                passed |= args.of != "text" and (line.surprise if args.of == "surprise" else line.rate) > limit
                if args.top is not None:
                    top = heapq.nlargest(args.top, [*top, line], key=attrgetter("surprise"))
                elif line.flagged or not args.only_flagged:
                    sys.stdout.write(show(name, line))
                    sys.stdout.flush()
        except KeyboardInterrupt:  # how an endless text ends
            report(args, scorer)
            raise
        sys.stdout.writelines(show(name, line) for line in top)
        passed |= args.of == "text" and scorer.bits / max(1, scorer.symbols) > limit
        report(args, scorer)
    return int(passed)


def report(args: Namespace, scorer: LineScorer) -> None:
    """Say what a text came to, to a person."""
    sys.stdout.flush()
    if args.format == "text" and not QUIET.get():
        print(summary(scorer), file=sys.stderr)


def lines_of(name: str, scorer: LineScorer, *, follow: bool) -> Iterator[Line]:
    """The lines of a file or of what is piped in, as they come."""
    from inn.inference.scoring import source

    if follow:
        yield from source.follow(scorer, Path(name))
        return
    with opened(name) as file:
        yield from source.score_lines(scorer, file)


def check_readable(name: str) -> None:
    """Raise `InputError` for a file that is not there, before anything is done."""
    from inn.system.files import plain_errors

    if name != "-":
        with plain_errors(name):
            if stat.S_ISDIR(Path(name).stat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The file, or what is piped in."""
    from inn.system.files import plain_errors

    if name == "-":
        yield sys.stdin.buffer
        return
    with plain_errors(name):
        file = io.FileIO(name)
    with file:
        yield file  # type: ignore[misc]


def as_json(vocab: int) -> Show:
    """One JSON object a line."""
    return lambda name, line: json.dumps(line_facts(name, line), ensure_ascii=False) + "\n"


def as_csv(vocab: int) -> Show:
    """One row a line."""

    def show(name: str, line: Line) -> str:
        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(line_facts(name, line).values())
        return row.getvalue()

    return show


def line_facts(name: str, line: Line) -> dict[str, Any]:
    """What CSV and JSON say of a line."""
    numbers = (line.bits, line.symbols, line.unknown, line.rate, line.peak, line.surprise)
    named = (line.column, line.symbol, line.expected, round(line.chance, 6), line.key or "")
    values = (name, line.number, *(round(n, 6) for n in numbers), line.flagged, line.text, line.whole, *named)
    return dict(zip(COLUMNS, values, strict=True))


def as_text(vocab: int) -> Show:
    """Bits per symbol, surprise, a `!` where it is flagged, and the line; coloured by bits in a terminal.

    Behind a flagged line stands the symbol that surprised most.
    """
    from rich.text import Text

    out, guess = console(), math.log2(vocab)

    def show(name: str, line: Line) -> str:
        mark = "!" if line.flagged else " "
        head = f"{line.rate:7.3f} {line.surprise:6.1f} {mark} "
        more = ("" if line.whole else " ...") + (f"  <- {culprit(line)}" if line.flagged else "")
        if not out.is_terminal:
            return f"{head}{printable(line.text)}{more}\n"
        text = Text(end="").append(head, "bold red" if mark == "!" else "cyan")
        coloured = ((next(style for s, style in LEVELS if not bits > s * guess), part) for part, bits in line.parts())
        for style, parts in groupby(coloured, key=itemgetter(0)):
            text.append(printable("".join(part for _, part in parts).rstrip("\r\n")), style)
        with out.capture() as captured:  # rich would end the program where nobody reads on
            out.print(text, soft_wrap=True, end="")
        return f"{captured.get()}{more}\n"

    return show


def culprit(line: Line) -> str:
    """The symbol that surprised most: where it stands, what it cost, and what was expected in its place.

    >>> from inn.inference.scoring.lines import Line
    >>> culprit(Line(7, peak=12.34, symbol="9", column=15, expected=" ", chance=0.875))
    "'9' at 15, 12.3 bits, where ' ' was expected (88%)"
    """
    expected = f", where '{line.expected}' was expected ({line.chance:.0%})" if line.expected else ""
    return f"'{line.symbol}' at {line.column:,}, {line.peak:.1f} bits{expected}"


def summary(scorer: LineScorer) -> str:
    """What the text came to, in a line."""
    from inn.inference.scoring.lines import UNKNOWN_BITS

    vocabulary = scorer.model.vocabulary
    assert vocabulary is not None
    rate = scorer.bits / max(1, scorer.symbols)
    text = f"{scorer.lines:,} lines, {scorer.symbols:,} {vocabulary.unit}s, {rate:.4f} bits per {vocabulary.unit}"
    if scorer.unknown:
        text += f" ({scorer.unknown:,} unknown, {UNKNOWN_BITS:.1f} bits each)"
    if scorer.keys:
        text += f"; {scorer.keys:,} keys kept"
        if scorer.forgotten:
            text += f", {scorer.forgotten:,} forgotten, the least recently used (--keys)"
    return f"{text}; {scorer.flagged:,} lines flagged"


def printable(text: str) -> str:
    """A text that does nothing to a terminal but show; tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)
