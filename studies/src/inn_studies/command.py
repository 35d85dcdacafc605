"""`inn study`: the papers' tables and our own questions, run again or shown as they were measured."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError, lookup
from inn_studies import STUDIES, open_study
from inn_studies.family import NAMES

if TYPE_CHECKING:
    from inn_studies.study import Study

USAGE = (
    "inn study NAME [--scale smoke|cpu|gpu] [--seeds K] [--no-resume] [--show|--floors] [--json] or inn study --report "
    "or inn study where [--rows A,B] ... or inn study family [--only 26,30] ... "
    "or inn study hmm|skills ..., some of those, or inn study models [NAME ...] ..."
)
RUNS = Path("runs/studies")
DOCS = Path("docs")
LAB_BOOK = Path("docs/lab-book.md")
MARKED = (Path("README.md"), DOCS / "results.md")
"""Pages with tables of studies between other text."""


def main(argv: list[str]) -> int:
    """Run `inn study`; returns 0."""
    if argv[:1] == ["where"]:
        from inn_studies.where.command import main as where

        return where(argv[1:])
    if argv[:1] == ["models"]:
        from inn_studies.models.command import main as models

        return models(argv[1:])
    if argv[:1] == ["family"]:
        from inn_studies.family.command import main as family

        return family(argv[1:])
    if argv and argv[0] in NAMES:
        from inn_studies.family.command import main as family

        return family(["--only", NAMES[argv[0]], *argv[1:]])
    args = parse(argv)
    if args.report:
        from inn_studies.family.command import write_page as write_family
        from inn_studies.lab_book import RECORDS, write_lab_book
        from inn_studies.report import write_report, write_tables
        from inn_studies.where.command import write_page

        if not (args.results.exists() or DOCS.exists()):
            raise InputError(
                f"--report writes pages of {DOCS} from '{args.results}', and neither is here; run it in a checkout"
            )
        write_report(args.results, DOCS)
        write_tables(args.results, MARKED)
        write_page(args.results)
        write_family(args.results)
        if (args.results / RECORDS).exists():
            write_lab_book(args.results, LAB_BOOK)
        tables = " and ".join(map(str, MARKED))
        print(f"the reports in {DOCS}, {LAB_BOOK} and the tables of {tables} are written from {args.results}")
        return 0
    study = open_study(args.name)
    entry = kept(study, args) if args.show else floors(study, args) if args.floors else conduct(study, args)
    if args.json:
        print_json(entry)
    else:
        show(study, entry)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn study", USAGE, "Re-create a table of the papers, or answer a question of our own.")
    parser.positional("name", f"The study: {', '.join(STUDIES)}.", required=False)
    parser.option("--scale", type=str | None, help="smoke (a minute), cpu (two cores) or gpu (the paper's size).")
    parser.option("--seeds", type=int | None, help="Seeds per row; the scale's own number when not given.")
    parser.option("--workers", type=int | None, help="Runs side by side, one thread each; one per core when not given.")
    parser.flag("--resume", "Go on with what is done already (the default).")
    parser.flag("--no-resume", "Train everything afresh, in place of the runs that are there.")
    parser.flag("--show", "Print what was measured, without running anything.")
    parser.flag("--floors", "Run only PPMd and zpaq on the texts of what was measured, and add them to it.")
    parser.flag("--report", f"Write the reports in {DOCS}, {LAB_BOOK} and the tables of {MARKED[0]} from all results.")
    parser.option("--results", type=Path, default=Path("results"), help="The folder of results.")
    parser.flag("--json", JSON_HELP)
    parser.epilog = f"Runs are kept in {RUNS} and shared by the studies that need them; a finished run is used again."
    args = parser.parse(argv)
    own = {"seeds": args.seeds, "workers": args.workers, "resume": args.resume, "no-resume": args.no_resume}
    if args.report:
        if args.name is not None:
            raise InputError("--report covers all studies; leave out the name")
        _leave_out(
            "--report runs nothing",
            {**own, "scale": args.scale, "show": args.show, "floors": args.floors, "json": args.json},
        )
        return args
    if args.name is None:
        raise InputError(f"NAME is missing: {', '.join(STUDIES)}")
    lookup("study", args.name, STUDIES)
    if args.scale is not None:
        one_of("--scale", args.scale, "smoke", "cpu", "gpu")
    for option in ("seeds", "workers"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} must be at least 1, not {value}")
    if args.resume and args.no_resume:
        raise InputError("--resume and --no-resume exclude each other; leave one out")
    if args.show:
        _leave_out("--show runs nothing", {**own, "floors": args.floors})
    if args.floors:
        _leave_out("--floors trains nothing", {name: own[name] for name in ("seeds", "workers")})
    return args


def _leave_out(why: str, options: dict[str, Any]) -> None:
    """Refuse options that would be ignored."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise InputError(f"{why}; leave out --{name}")


def kept(study: Study, args: Namespace) -> dict[str, Any]:
    """What was measured: at the scale that was asked for, else at the largest."""
    from inn_studies.results import largest, path_of, read

    entries = read(study, args.results)
    entry = largest(entries) if args.scale is None else entries.get(args.scale)
    if entry is None:
        at = f" at scale {args.scale}" if args.scale else ""
        raise InputError(
            f"'{path_of(study, args.results)}' has no results of study '{study.name}'{at}; "
            f"run it: inn study {study.name} --scale {args.scale or 'cpu'}"
        )
    return entry


def floors(study: Study, args: Namespace) -> dict[str, Any]:
    """Add what compressors make of its texts to what was measured of a study, beside the models."""
    from inn_studies import compressors, results
    from inn_studies.lab import Lab

    entry = kept(study, args)
    if not study.readings(entry["result"]):
        raise InputError(f"study '{study.name}' has no table that compressors belong in; leave out --floors")
    compressors.check()
    entry["result"] = compressors.added(entry["result"], study, Lab(RUNS, resume=not args.no_resume, report=say))
    print(f"the result is in {results.write(study, args.results, entry)}", file=sys.stderr)
    return entry


def conduct(study: Study, args: Namespace) -> dict[str, Any]:
    """Run the study and keep its result; a smoke run's is kept with its runs, not with the committed ones."""
    from inn.system.device import good_threads
    from inn.system.files import check_writable
    from inn_studies import results
    from inn_studies.lab import Lab

    scale = args.scale or "cpu"
    folder = RUNS / "smoke" if scale == "smoke" else args.results
    check_writable(RUNS)
    results.check(study, folder)
    part = results.unfinished(study.name, folder, scale)
    lab = Lab(RUNS, workers=args.workers or good_threads(), resume=not args.no_resume, report=say, kept=part)
    with terminating():
        entry = results.conduct(study, scale, lab, args.seeds)
    path = results.write(study, folder, entry)
    print(f"the result is in {path}", file=sys.stderr)
    return entry


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C: the runs under way write their checkpoints, the exit code is 130."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def say(what: str, done: int, of: int) -> None:
    """One line per piece of work."""
    print(f"{done} of {of}: {what}", file=sys.stderr, flush=True)


def show(study: Study, entry: dict[str, Any]) -> None:
    """The question, the table, the verdicts on the paper's numbers, and where it was measured."""
    from rich.markdown import Markdown

    from inn_studies.report import verdict_table
    from inn_studies.results import tell

    table, verdicts = tell(study, entry)
    text = f"## {study.name}\n\n{study.question}\n\n{table}"
    if verdicts:
        text += f"\n\n{verdict_table(verdicts)}"
    text += f"\n\nMeasured by `{entry['command']}`, {place(entry)}."
    out = console()
    out.print(Markdown(text) if out.is_terminal else text, soft_wrap=not out.is_terminal)


def place(entry: dict[str, Any]) -> str:
    """Commit and hardware in a few words."""
    machine = entry["hardware"]
    return f"commit {entry['commit'] or 'not known'}, {machine.get('gpu') or machine['cpu']}"
