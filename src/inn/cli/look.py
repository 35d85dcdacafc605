"""`inn look`: one page that shows what a run's neurons do, to be opened in a browser."""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import console, one_of
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from inn.data.prepare import Dataset
    from inn.data.vocabulary import Vocabulary
    from inn.models.sequence import SequenceModel

USAGE = "inn look RUN [RUN2] [--text FILE] [--symbols N] [--out page.html] [--open]"
SYMBOLS = 2000
BEFORE = 4000
"""Symbols of validation text that are read before the passage, where it has them: recall needs something to recall."""
_BYTES = 64
"""Bytes of a file that are read for each symbol of the passage."""


def main(argv: list[str]) -> int:
    """Run `inn look`."""
    from inn.explorer.page import build_page
    from inn.system.files import atomic_file

    args = parse(argv)
    out = Path(args.out) if args.out else default_out(args.run, args.run2)
    if out.is_dir():
        raise InputError(f"--out '{out}' is a folder; name a file in it, {out / 'page.html'}")
    looks = collect(args)
    page = build_page(looks, made_with=shlex.join(["inn", "look", *argv])).encode()
    with atomic_file(out) as file:
        file.write(page)
    read = looks[0]["passage"]
    tell = console()
    tell.print(f"read {read['symbols']:,} {read['unit']}s: {read['title']}", soft_wrap=True)
    tell.print(f"wrote {out}, {len(page) / 1e6:.1f} MB; open it in a browser", soft_wrap=True)
    if args.open:
        import webbrowser

        webbrowser.open(out.absolute().as_uri())
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn look", USAGE, "Write one HTML page that shows what the neurons of a run do.")
    parser.positional("run", "A run directory.")
    parser.positional("run2", "Another one, of the same symbols, to be shown beside it.", required=False)
    parser.option("--text", help="A text file to read; a piece of the run's validation text when absent.")
    parser.option("--symbols", type=int, default=SYMBOLS, help="Symbols of the passage, at most.")
    parser.option("--unknown", default="error", help="Symbols of the text the run does not know: error or skip.")
    parser.option("--out", help="The file to write; page.html in the run directory when absent.")
    parser.flag("--open", "Open the page in a browser.")
    args = parser.parse(argv)
    one_of("--unknown", args.unknown, "error", "skip")
    if args.symbols < 2:
        raise InputError(f"--symbols must be at least 2, not {args.symbols}")
    return args


def default_out(run: str, run2: str | None) -> Path:
    """Where the page goes: into the directory of the (first) run."""
    return Path(run) / (f"page-beside-{Path(run2).absolute().name}.html" if run2 else "page.html")


def collect(args: Namespace) -> list[dict[str, Any]]:
    """What the page shows of each run."""
    from inn.cli.evaluate import load_with_data

    found = [(run, *load_with_data(run)) for run in (args.run, args.run2) if run is not None]
    first = found[0][2].vocabulary
    for run, _, dataset in found:
        if dataset.vocabulary != first:
            raise InputError(
                f"runs '{args.run}' and '{run}' read different symbols; give two runs of the same corpus and vocabulary"
            )
    chosen = passage_of(found[0][2], args.text, args.symbols, args.unknown)
    names = names_of([run for run, _, _ in found])
    return [look(name, *one, chosen) for name, one in zip(names, found, strict=True)]


def look(name: str, run: str, model: SequenceModel, dataset: Dataset, chosen: dict[str, Any]) -> dict[str, Any]:
    """All that the page shows of one run, as plain data; raises `InputError` for a run without neurons."""
    from inn.explorer.passage import read_passage
    from inn.models.inn import INN
    from inn.runs.directory import Run
    from inn.runs.history import history

    settings = Run(run).config().to_dict()
    if not isinstance(model, INN):
        kind = settings["model"]["kind"]
        raise InputError(f"run '{run}' is of kind '{kind}', which has no neurons to look at; give a run of kind 'inn'")
    return {
        "name": name,
        "passage": read_passage(model, **chosen),
        "survey": survey_of(model, dataset, name),
        "history": history(Run(run)),
        "facts": {f"{section}.{key}": value for section, tree in settings.items() for key, value in tree.items()},
    }


def survey_of(model: SequenceModel, dataset: Dataset, name: str) -> dict[str, Any] | None:
    """What the neurons do, carry and cause on validation text; None, and a word on stderr, where that is too short."""
    from inn.analysis.overview import survey
    from inn.cli.display import working

    try:
        with working("looking at the neurons") as report:
            return survey(model, dataset, run=name, report=report)
    except InputError as error:
        console(to_stderr=True).print(f"inn: the page has no survey of the neurons: {error}", soft_wrap=True)
        return None


def names_of(runs: list[str]) -> list[str]:
    """What runs are called: their folders' names, and their paths where those are the same."""
    names = [Path(run).absolute().name for run in runs]
    return runs if len(set(names)) < len(names) else names


def passage_of(dataset: Dataset, text: str | None, symbols: int, unknown: str) -> dict[str, Any]:
    """What is to be read: `symbols`, what comes `before` them, and a `title`."""
    if text is not None:
        read, whole = text_symbols(Path(text), dataset.vocabulary, symbols, unknown)
        return {"symbols": read, "title": Path(text).name if whole else f"the beginning of {Path(text).name}"}
    valid = dataset.split("valid")
    start = max(0, min(BEFORE, len(valid) - symbols))
    return {
        "symbols": valid[start : start + symbols],
        "before": valid[:start],
        "title": f"validation text of {dataset.name.removeprefix('file:')}",
    }


def text_symbols(path: Path, vocabulary: Vocabulary, symbols: int, unknown: str) -> tuple[np.ndarray, bool]:
    """The first symbols of a file, and whether those are all it has; no more of it is read than they may take."""
    from inn.system.files import plain_errors

    with plain_errors(path), path.open("rb") as file:
        content = file.read(_BYTES * symbols)
        whole = not file.read(1)
    given = content if vocabulary.boundary == "bytes" else _decoded(path, content, whole)
    if vocabulary.kind == "characters" and unknown == "error":  # what is not shown need not be known
        given, whole = given[:symbols], whole and len(given) <= symbols
    read = vocabulary.encode(given, unknown=unknown)
    if len(read) < 2:
        raise InputError(f"{path} has {len(read)} symbols that the run knows; a passage takes at least 2")
    return read[:symbols], whole and len(read) <= symbols


def _decoded(path: Path, content: bytes, whole: bool) -> str:
    """UTF-8 text of a file's beginning, whose last character may be cut where that is not the whole."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError as e:
        raise InputError(
            f"{path} is not UTF-8 text: byte 0x{content[e.start]:02x} at offset {e.start:,};"
            " convert it, or give a run that reads bytes"
        ) from None
