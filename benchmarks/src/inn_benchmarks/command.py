"""`inn bench`: what this machine makes of the kernels, as ratios beside the limits they must reach."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError, lookup
from inn.system.report import Report
from inn_benchmarks.rows import PROFILED, ROWS, limit, number, verdict

USAGE = "inn bench [--only ID[,ID...]] [--threads N] [--profile] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn bench`; returns 1 where a row broke, 0 whether or not the limits are reached."""
    args = parse(argv)
    if args.profile:
        return show_profiles(args)
    results = bench(args)
    if args.json:
        print_json(results)
    else:
        show(results)
    return int(any(row["error"] is not None for row in results.values()))


def parse(argv: list[str]) -> Namespace:
    """The command's arguments; `only` is a list of ids."""
    description = "Measure the speed of training, writing and the kernels against peers and against the machine."
    parser = OptionParser("inn bench", USAGE, description)
    parser.option("--only", type=str | None, help="Rows by id, separated by commas; all when not given.")
    parser.option("--threads", type=int | None, help="CPU threads; as many as training takes when not given.")
    parser.flag("--profile", "Where the time of a step goes, by operator, each beside what its work needs here.")
    parser.flag("--json", JSON_HELP)
    parser.epilog = "Rows: " + ", ".join(ROWS) + ". The whole takes about ten minutes on two cores."
    args = parser.parse(argv)
    only = args.only is not None
    ids = list(ROWS) if args.only is None else [name.strip() for name in args.only.split(",") if name.strip()]
    if not ids:
        raise InputError(f"--only names no row; known: {', '.join(ROWS)}")
    for name in ids:
        lookup("benchmark row", name, ROWS)
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads must be at least 1, not {args.threads}")
    args.only = list(dict.fromkeys(ids))
    if args.profile:
        unknown = [name for name in args.only if name not in PROFILED]
        if unknown and only:
            raise InputError(f"--profile knows no row {unknown[0]}; it knows: {', '.join(PROFILED)}")
        args.only = [name for name in args.only if name in PROFILED]
    return args


def bench(args: Namespace) -> dict[str, dict[str, Any]]:
    """Run the rows that were asked for; says on stderr where it is."""
    from inn_benchmarks.run import run_rows

    with watching() as report:
        return run_rows(args.only, args.threads or default_threads(), report)


def profiles(args: Namespace) -> dict[str, dict[str, Any]]:
    """Profile the rows that were asked for, each in a process of its own; one thread when not told otherwise."""
    from inn_benchmarks.run import call

    found = {}
    with watching() as report:
        for at, name in enumerate(args.only, start=1):
            report(name, at, len(args.only))
            found[name] = call("inn_benchmarks.profile:profile", {"row": name}, threads=args.threads or 1)
    return found


def show_profiles(args: Namespace) -> int:
    """Print the profiles; returns 1 where one broke."""
    from inn_benchmarks.profile_table import text
    from inn_benchmarks.run import Broken

    try:
        found = profiles(args)
    except Broken as error:
        console(to_stderr=True).print(f"{args.only}: {error}", soft_wrap=True)
        return 1
    if args.json:
        print_json(found)
    else:
        console().print("\n\n".join(text(name, one) for name, one in found.items()), soft_wrap=True)
    return 0


def default_threads() -> int:
    """The threads that training takes when it is told nothing."""
    from inn.system.device import good_threads

    return good_threads()


@contextmanager
def watching() -> Iterator[Report]:
    """One line on stderr that says which row runs; nothing where nobody looks."""
    from rich.status import Status

    status = Status("", console=console(to_stderr=True))
    if not sys.stderr.isatty():
        yield lambda what, at, of: None
        return
    with status:
        yield lambda what, at, of: status.update(f"row {at} of {of}: {what}")


def show(results: dict[str, dict[str, Any]]) -> None:
    """The table, what is not reached, and what could not be measured."""
    from rich.table import Table

    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "ratio", "limit", "verdict", "what is measured"):
        numeric = column in ("ratio", "limit")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=column != "what is measured")
    for name, row in results.items():
        threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
        what = f"{row['what']}\n{row['sizes']}; {row['dtype']}, {threads}" if row["sizes"] else row["what"]
        cells = (number(row["ratio"], row["unit"]), limit(row), verdict(row), what)
        table.add_row(name, *cells, style="bold" if row["reached"] is False else "")
    out.print(table)
    machine = next((row["machine"] for row in results.values() if row["machine"]), None)
    first = next(iter(results.values()))
    where = f"{machine['cpu']}, {machine['cores']} cores" if machine else "nothing measured"
    out.print(f"\n{where}, torch {first['torch']}, commit {first['commit']}", soft_wrap=True)
    for sentence in remarks(results):
        out.print(sentence, soft_wrap=True)


def remarks(results: dict[str, dict[str, Any]]) -> list[str]:
    """What a reader of the table must know, in sentences."""
    missed = [name for name, row in results.items() if row["reached"] is False]
    said = [f"Limits not reached: {', '.join(missed)}."] if missed else []
    said += [f"{name} is skipped: {row['skipped']}." for name, row in results.items() if row["skipped"]]
    said += [f"{name} broke: {row['error']}" for name, row in results.items() if row["error"] is not None]
    plots = {name: row["details"].get("plot") for name, row in results.items()}
    said += [f"The plot of {name} is in {path}." for name, path in plots.items() if path]
    return said
