"""The command `inn study family`: put entries to the test, or show what was found; writes `docs/family.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError
from inn_studies.family import ENTRIES, in_order, open_entry

USAGE = (
    "inn study family [--only 26,30] [--scale smoke|cpu] [--seeds K] [--workers K] [--show] [--json] "
    "or inn study family --report"
)
PAGE = Path("docs/family.md")


def main(argv: list[str]) -> int:
    """Run `inn study family`; returns 0."""
    args = parse(argv)
    if args.report:
        if not PAGE.parent.is_dir():
            raise InputError(f"--report writes {PAGE}, and its folder is not here; run it in a checkout")
        write_page(args.results)
        print(f"{PAGE} is written from {args.results}")
        return 0
    found = _kept(args) if args.show else _conducted(args)
    if args.json:
        print_json(_with_criteria(found))
    else:
        _show(found)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments, `only` as a list of numbers (all where it is not given)."""
    parser = OptionParser("inn study family", USAGE, "Related systems, each put to a test with a control.")
    numbers = ", ".join(map(str, in_order(ENTRIES)))
    parser.option("--only", type=str | None, help=f"Some of the entries, with commas between: {numbers}.")
    parser.option("--scale", type=str | None, help="smoke (does it run) or cpu (what the criteria are for).")
    parser.option("--seeds", type=int | None, help="Seeds per row; the scale's own number when not given.")
    parser.option("--workers", type=int | None, help="Runs side by side, one thread each; one per core when not given.")
    parser.flag("--no-resume", "Train everything afresh, in place of the runs that are there.")
    parser.flag("--show", "Print what was measured, without running anything.")
    parser.flag("--report", f"Write {PAGE} from what was measured.")
    parser.option("--results", type=Path, default=Path("results"), help="The folder of results.")
    parser.flag("--json", JSON_HELP)
    parser.epilog = (
        "Finished runs are kept in runs/studies and used again; what was found is in results/family.json, where a run "
        "of some entries leaves the others as they are. What an unfinished one has is in results/family-N.part.jsonl."
    )
    args = parser.parse(argv)
    if args.scale is not None:
        one_of("--scale", args.scale, "smoke", "cpu")
    for option in ("seeds", "workers"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} must be at least 1, not {value}")
        if value is not None and (args.show or args.report):
            raise InputError(f"--{'show' if args.show else 'report'} runs nothing; leave out --{option}")
    if args.report and (args.only is not None or args.show or args.scale is not None):
        raise InputError("--report covers all entries; leave out --only, --scale and --show")
    args.numbers = in_order(ENTRIES) if args.only is None else [_number(word) for word in args.only.split(",")]
    return args


def _number(word: str) -> int | str:
    word = word.strip()
    if not word.isdecimal() and word not in ENTRIES:
        raise InputError(f"--only takes numbers of entries with commas between, not '{word}'")
    return open_entry(int(word) if word.isdecimal() else word).number


def _kept(args: Namespace) -> dict[int | str, dict[str, Any]]:
    from inn_studies.family.results import entries, measured

    if args.only is None and args.scale is None:
        if found := measured(args.results):
            return found
        raise InputError(f"nothing is measured in '{args.results}'; run inn study family --scale cpu")
    return entries(args.results, args.numbers, args.scale)


def _conducted(args: Namespace) -> dict[int | str, dict[str, Any]]:
    """Run the entries and keep what is found; that of a smoke run is kept with its runs."""
    from inn.system.device import good_threads
    from inn.system.files import check_writable
    from inn_studies import results
    from inn_studies.command import RUNS, say, terminating
    from inn_studies.family.results import read, write
    from inn_studies.lab import Lab

    scale = args.scale or "cpu"
    smoke = scale == "smoke"
    folder = RUNS / "smoke" if smoke else args.results
    check_writable(RUNS)
    folder.mkdir(parents=True, exist_ok=True)
    read(folder)  # a damaged file is found before hours are spent
    check_writable(folder)
    workers = args.workers or (1 if smoke else good_threads())  # a process takes longer to start than a smoke run
    found = {}
    for number in args.numbers:
        part = results.unfinished(f"family-{number}", folder, scale)
        lab = Lab(RUNS, workers=workers, resume=not args.no_resume, report=say, kept=part)
        with terminating():
            found[number] = results.conduct(open_entry(number), scale, lab, args.seeds)
        path = write(folder, number, found[number])
        print(f"entry {number} is in {path}", file=sys.stderr)
        if PAGE.parent.is_dir() and not smoke:
            write_page(args.results)
    return found


def write_page(results: Path) -> None:
    """Write the page from a folder of results."""
    from inn.system.files import replace_file
    from inn_studies.family.report import page

    replace_file(PAGE, page(results))


def _with_criteria(found: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    """What is kept of each entry, with its criteria and verdict."""
    from dataclasses import asdict

    from inn_studies.family.report import answer, judged

    told = {}
    for number, kept in found.items():
        criteria = judged(open_entry(number), kept)
        told[str(number)] = {**kept, "criteria": [asdict(c) for c in criteria], "verdict": answer(criteria)}
    return told


def _show(found: dict[int | str, dict[str, Any]]) -> None:
    from rich.markdown import Markdown

    from inn_studies.family.report import heading, one_screen, section

    text = one_screen(found)
    if len(found) == 1:
        number, kept = next(iter(found.items()))
        entry = open_entry(number)
        text += f"\n\n## {heading(entry)}\n\n{section(entry, kept)}"
    out = console()
    out.print(Markdown(text) if out.is_terminal else text, soft_wrap=not out.is_terminal)
