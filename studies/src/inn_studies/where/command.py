"""The command `inn study where`: run the rows, or show what was measured; writes `docs/where.md` where that is here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError, lookup
from inn_studies.where import ROWS, open_row

if TYPE_CHECKING:
    from inn_studies.where.row import Row

USAGE = "inn study where [--scale smoke|short|cpu] [--rows A,B] [--seeds K] [--workers K] [--show] [--json]"
FOLDER = "where"
"""Of the folder of results: a file per row."""
PAGE = Path("docs/where.md")


def main(argv: list[str]) -> int:
    """Run `inn study where`; returns 0."""
    args = parse(argv)
    rows = [open_row(name) for name in args.rows]
    entries = _kept(rows, args) if args.show else _conducted(rows, args)
    if args.json:
        print_json(entries)
    else:
        _show(args, entries)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments, `rows` as a list of names."""
    parser = OptionParser("inn study where", USAGE, "Where a graph of neurons helps, and where it does not.")
    parser.option("--scale", type=str | None, help="smoke (a minute), short (an hour, one seed) or cpu (three seeds).")
    parser.option("--rows", type=str | None, help=f"Some of the rows, with commas between: {', '.join(ROWS)}.")
    parser.option("--seeds", type=int | None, help="Seeds per model; the scale's own number when not given.")
    parser.option("--workers", type=int | None, help="Runs side by side, one thread each; one per core when not given.")
    parser.flag("--no-resume", "Train everything afresh, in place of the runs that are there.")
    parser.flag("--show", "Print what was measured, without running anything.")
    parser.option("--results", type=Path, default=Path("results"), help="The folder of results.")
    parser.flag("--json", JSON_HELP)
    parser.epilog = (
        "Finished runs are kept in runs/studies and used again; a row's result is in results/where/ROW.json. "
        "What an unfinished row has at scale cpu is in results/where/ROW.part.jsonl, enough to go on from elsewhere."
    )
    args = parser.parse(argv)
    if args.scale is not None:
        one_of("--scale", args.scale, "smoke", "short", "cpu")
    args.rows = list(ROWS) if args.rows is None else args.rows.split(",")
    for name in args.rows:
        lookup("row of the suite", name, ROWS)
    for option in ("seeds", "workers"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} must be at least 1, not {value}")
        if value is not None and args.show:
            raise InputError(f"--show runs nothing; leave out --{option}")
    return args


def _kept(rows: list[Row], args: Namespace) -> dict[str, dict[str, Any]]:
    from inn_studies.where.report import entries

    return entries(args.results / FOLDER, [row.name for row in rows], args.scale)


def _conducted(rows: list[Row], args: Namespace) -> dict[str, dict[str, Any]]:
    """Run the rows and keep their results; those of a smoke run are kept with its runs."""
    from inn.system.device import good_threads
    from inn.system.files import check_writable
    from inn_studies import results
    from inn_studies.command import RUNS, say, terminating
    from inn_studies.lab import Lab

    scale = args.scale or "short"
    smoke = scale == "smoke"
    folder = (RUNS / "smoke" if smoke else args.results) / FOLDER
    check_writable(RUNS)
    folder.mkdir(parents=True, exist_ok=True)
    workers = args.workers or (1 if smoke else good_threads())  # a process takes longer to start than a smoke run
    found = {}
    for row in rows:
        results.check(row, folder)
        part = results.unfinished(row.name, folder, scale)
        lab = Lab(RUNS, workers=workers, resume=not args.no_resume, report=say, kept=part)
        with terminating():
            found[row.name] = results.conduct(row, scale, lab, args.seeds)
        path = results.write(row, folder, found[row.name])
        print(f"row '{row.name}' is in {path}", file=sys.stderr)
        if PAGE.parent.is_dir() and not smoke:
            write_page(args.results)
    return found


def write_page(results: Path) -> None:
    """Write the page and its figure from the files in a folder of results."""
    from inn.system.files import replace_file
    from inn_studies.where.report import draw, page

    folder = results / FOLDER
    if folder.is_dir():
        draw(folder, folder / "where.png")
    replace_file(PAGE, page(folder))


def _show(args: Namespace, entries: dict[str, dict[str, Any]]) -> None:
    from rich.markdown import Markdown

    from inn_studies.where.report import one_screen, section

    text = one_screen(entries)
    if len(entries) == 1:
        name, entry = next(iter(entries.items()))
        text += "\n\n" + section(open_row(name), entry)
    out = console()
    out.print(Markdown(text) if out.is_terminal else text, soft_wrap=not out.is_terminal)
