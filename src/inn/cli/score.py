"""`inn score`: what every line of a text costs a run, as it arrives; the surprising ones stand out."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jsonargparse import Namespace

from inn.cli.common import console, one_of
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.inference.scoring.lines import Line, LineScorer

Show = Callable[[str, "Line"], str]

USAGE = (
    "inn score RUN [FILE ...] [--format text|csv|jsonl] [--threshold X] [--of line|surprise|text] "
    "[--unknown count|skip|error]"
)
COLUMNS = ("file", "line", "bits", "symbols", "unknown", "bits_per_symbol", "peak", "surprise", "text", "whole")
LEVELS = ((0.25, "dim"), (0.5, ""), (1.0, "yellow"), (2.0, "red"), (math.inf, "bold white on red"))
"""Colours of a symbol by its bits, in units of what guessing costs: log2 of the vocabulary's size."""


def main(argv: list[str]) -> int:
    """Run `inn score`."""
    return score_files(parse(argv))


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn score", USAGE, "Bits per symbol of every line of a text, as soon as it is there.")
    parser.positional("run", "A run directory.")
    parser.positional(
        "files", "Texts, each read on its own; - or none reads a pipe for as long as it lasts.", many=True
    )
    parser.option("--format", default="text", help="text (coloured in a terminal), csv or jsonl (JSON lines).")
    parser.option("--threshold", type=float | None, help="Exit with code 1 where more than this was found.")
    parser.option(
        "--of",
        default="line",
        help="What the threshold is of: line (bits per symbol of a line), surprise (how unusual a line is among the "
        "1,000 before it, in units of their spread) or text (bits per symbol of a whole text).",
    )
    parser.option(
        "--unknown",
        default="count",
        help="Symbols the run does not know: count (20.1 bits each), skip, or error. Words count as <unk>.",
    )
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    args = parser.parse(argv)
    one_of("--format", args.format, "text", "csv", "jsonl")
    one_of("--of", args.of, "line", "surprise", "text")
    one_of("--unknown", args.unknown, "count", "skip", "error")
    if args.threshold is not None and not math.isfinite(args.threshold):
        raise InputError(f"--threshold must be finite, not {args.threshold}")
    args.files = args.files or ["-"]
    return args


def score_files(args: Namespace) -> int:
    """Print every line as it comes; 1 where the threshold was passed."""
    from inn.inference.scoring.lines import LineScorer
    from inn.inference.scoring.source import score_lines
    from inn.runs.load import load
    from inn.system.device import resolve_device

    for name in args.files:
        check_readable(name)
    model = load(args.run).to(resolve_device(args.device))
    show = {"text": as_text, "csv": as_csv, "jsonl": as_json}[args.format](model.config.vocab)
    sys.stdout.write(",".join(COLUMNS) + "\n" if args.format == "csv" else "")
    passed, limit = False, math.inf if args.threshold is None else args.threshold
    for name in args.files:
        scorer, standing = LineScorer(model, unknown=args.unknown), 0
        if args.format == "text" and len(args.files) > 1:
            sys.stdout.write(f"==> {printable(name)} <==\n")
        with opened(name) as source:
            for line in score_lines(scorer, source):
                sys.stdout.write(show(name, line))
                sys.stdout.flush()
                standing += stands_out(line)
                passed |= args.of != "text" and (line.surprise if args.of == "surprise" else line.rate) > limit
        passed |= args.of == "text" and scorer.bits / max(1, scorer.symbols) > limit
        if args.format == "text":
            print(summary(scorer, standing), file=sys.stderr)
    return int(passed)


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


def stands_out(line: Line) -> bool:
    from inn.inference.scoring.usual import STANDS_OUT

    return line.surprise > STANDS_OUT


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
    return dict(zip(COLUMNS, (name, line.number, *(round(n, 6) for n in numbers), line.text, line.whole)))


def as_text(vocab: int) -> Show:
    """Bits per symbol, a `!` where the line stands out, and the line; coloured by surprise in a terminal."""
    from rich.text import Text

    out, guess = console(), math.log2(vocab)

    def show(name: str, line: Line) -> str:
        mark = "!" if stands_out(line) else " "
        head = f"{line.rate:7.3f} {mark} "
        more = "" if line.whole else " ..."
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


def summary(scorer: LineScorer, standing: int) -> str:
    """What the text came to, in a line."""
    from inn.inference.scoring.lines import UNKNOWN_BITS

    vocabulary = scorer.model.vocabulary
    assert vocabulary is not None
    rate = scorer.bits / max(1, scorer.symbols)
    text = f"{scorer.lines:,} lines, {scorer.symbols:,} {vocabulary.unit}s, {rate:.4f} bits per {vocabulary.unit}"
    if scorer.unknown:
        text += f", of them {scorer.unknown:,} that the run does not know, {UNKNOWN_BITS:.1f} bits each"
    return f"{text}; {standing:,} lines stand out"


def printable(text: str) -> str:
    """A text that does nothing to a terminal but show; tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)
