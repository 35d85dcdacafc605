"""`inn runs`: the runs of a folder, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.data.metric import in_metric
from inn.registry import TRAINED

if TYPE_CHECKING:
    from inn.runs.listing import ListedRun, Listing

USAGE = "inn runs [DIR] [--sort FIELD] [--kind KIND] [--corpus NAME] [--curves FILE.png] [--json]"
COLUMNS: dict[str, Literal["left", "right"]] = {
    "run": "left", "valid": "right", "test": "right", "status": "left", "curve": "left", "kind": "left", "text": "left",
    "parameters": "right", "symbols": "right", "minutes": "right", "when": "left", "best checkpoint": "left",
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Run `inn runs`."""
    args = parse(argv)
    from inn.runs.listing import arranged, draw_curves, list_runs

    listing = list_runs(args.dir)
    runs = arranged((run for run in listing.runs if chosen(run, args)), args.sort)
    drawn = draw_curves(runs, args.curves) if args.curves else None
    if args.json:
        print_json(listing_facts(args.dir, runs, listing))
    else:
        show(args.dir, runs, listing)
        if drawn:
            console().print(f"wrote {drawn}", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    from inn.runs.listing import SORTS

    parser = OptionParser("inn runs", USAGE, "List the runs in a folder, the best on each text first.")
    parser.positional("dir", "The folder to search; default: runs.", required=False)
    parser.option("--sort", default="bits", help=f"One of {', '.join(SORTS)}; runs of one text stay together by bits.")
    parser.option("--kind", help="Only models of this kind.")
    parser.option("--corpus", help="Only runs on this corpus.")
    parser.option("--curves", help="Plot validation bits against symbols read, in this file: .png, .svg or .pdf.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("--sort", args.sort, *SORTS)
    args.dir = args.dir or "runs"
    return args


def chosen(run: ListedRun, args: Namespace) -> bool:
    """Whether a run is of the kind and corpus that were asked for."""
    return args.kind in (None, run.kind) and args.corpus in (None, run.corpus)


def listing_facts(folder: str, runs: Sequence[ListedRun], listing: Listing) -> dict[str, Any]:
    """All that is known, as plain data."""
    return {
        "folder": folder,
        "runs": [asdict(run) for run in runs],
        "damaged": listing.damaged,
        "foreign": list(listing.foreign),
        "trained": sorted(TRAINED),
    }


def show(folder: str, runs: Sequence[ListedRun], listing: Listing) -> None:
    from rich.measure import Measurement
    from rich.table import Table

    out = console()
    rows = [cells(run, runs) for run in runs]
    for count in range(len(COLUMNS), 1, -1):  # what matters less stands right, and goes where a terminal is too narrow
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name, side in list(COLUMNS.items())[:count]:
            table.add_column(name, justify=side, no_wrap=True)
        for row in rows:
            table.add_row(*row[:count])
        whole = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
        if whole <= out.width or not out.is_terminal:
            break
    if runs:
        out.width = max(out.width, whole)
        out.print(table)
    else:
        out.print(f"no runs in '{folder}' to show", soft_wrap=True)
    for name, reason in listing.damaged.items():
        out.print(f"damaged: {name}: {reason}", style="yellow", soft_wrap=True)
    if listing.foreign:
        out.print(f"no run in: {', '.join(listing.foreign)}", style="dim", soft_wrap=True)
    if TRAINED:
        out.print(f"installed, to be named as a run is: {', '.join(sorted(TRAINED))}", style="dim", soft_wrap=True)


def cells(run: ListedRun, runs: Sequence[ListedRun]) -> list[str]:
    """A run's row, as `COLUMNS` has it."""
    from inn.runs.listing import spark

    return [
        run.name,
        score_cell(run.bits, run.metric) + ("" if run.score is None else f", {run.measure} {run.score:.3f}"),
        score_cell(run.test, run.metric),
        run.status,
        spark(run.curve, [point for other in runs if other.text == run.text for point in other.curve]),
        run.kind,
        f"{short_corpus(run.corpus)}, {run.vocabulary}",
        number(run.parameters),
        number(run.symbols),
        "" if run.minutes is None else f"{run.minutes:,.1f}",
        (run.when or "")[:16].replace("T", " "),
        run.checkpoint or "",
    ]


def score_cell(bits: float | None, metric: str | None) -> str:
    """A score in the text's own measure."""
    if bits is None or metric is None:
        return ""
    return f"{in_metric(bits, metric):,.{1 if metric == 'PPL' else 3}f} {metric}"


def short_corpus(corpus: str) -> str:
    """A corpus by name; of a file, the last part of its path."""
    source, colon, path = corpus.partition(":")
    return f"{source}:{Path(path).name}" if colon and source != "task" else corpus


def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
