"""The page of a run: what there is to see of it, collected and written."""

from __future__ import annotations

import codecs
import re
import shlex
import warnings
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inn.analysis.overview import survey
from inn.analysis.recording.stretches import Neurons
from inn.analysis.rules.runs import rules_of
from inn.config.typed import typed
from inn.data.base import Vocabulary
from inn.data.dataset import Dataset
from inn.data.names import Channels
from inn.data.task_data import TaskData
from inn.explorer.examples import read_examples
from inn.explorer.pack import LARGE
from inn.explorer.page import build_page
from inn.explorer.passage import SYMBOLS, read_passage
from inn.explorer.wiring import wiring_of
from inn.models.sequence import SequenceModel
from inn.runs.directory import Run
from inn.runs.history import history
from inn.runs.load import load_with_data, path_of
from inn.system.errors import InputError
from inn.system.files import atomic_file, plain_errors
from inn.system.report import Report, nobody
from inn.system.trees import dotted

BEFORE = 4000
"""Symbols of validation text that are read before the passage, where it has them: recall needs something to recall."""
NEAR = 400
"""Symbols further on, at most, where the passage may begin so that it begins with a sentence."""
_BYTES = 64
"""Bytes of a file that are read for each symbol of the passage."""
_MOST = 1 << 30
"""Bytes of a file that are read at most."""
_BEGINNINGS = [
    re.compile(pattern)
    for pattern in (r"(?<=\n)\n+[ \t]*(?=\S)", r"[.!?][\"')\]’”]*\s+(?=[^\sa-z])|[。！？]+", r"\n+(?=\S)", r"\s+(?=\S)")
]
"""What stands before a paragraph, a sentence, a line, a word."""

Warn = Callable[[str], None]


@typed
def look(
    run: str | Path | Run,
    other: str | Path | Run | None = None,
    *,
    text: str | Path | None = None,
    symbols: int = SYMBOLS,
    unknown: str = "error",
    out: str | Path | None = None,
    report: Report = nobody,
    warn: Warn = warnings.warn,
) -> Path:
    """Write one HTML page that shows what the neurons of a run do, to be opened in a browser; returns its path.

    Args:
        run: a run, or its directory.
        other: another one, of the same symbols, to be shown beside it.
        text: a text file to read; a piece of the run's validation text when None.
        symbols: of the passage, at most.
        unknown: symbols of the text that the run does not know: `error` or `skip`.
        out: the file to write; `page.html` in the run's directory when None.
        report: told of what is fetched, encoded and looked at.
        warn: told in a sentence what is missing from the page.

    Raises `InputError` for a run without neurons, two that read different symbols, and a text that is too short.

    Example: ``look("runs/demo", text="notes.txt")``
    """
    place = Path(out) if out is not None else default_out(run, other)
    looks = collect(run, other, text=text, symbols=symbols, unknown=unknown, report=report, warn=warn)
    return write_page(looks, place)


def default_out(run: str | Path | Run, other: str | Path | Run | None = None) -> Path:
    """Where the page goes: into the directory of the (first) run; of a trained model that was named, to `NAME.html`."""
    if not isinstance(run, Run) and path_of(run) != run:
        return Path(f"{run}.html")
    name = "page.html" if other is None else f"page-beside-{Path(path_of(other)).absolute().name}.html"
    return Path(path_of(run)) / name


def write_page(looks: list[dict[str, Any]], out: Path, *, made_with: str = "", **live: Any) -> Path:
    """Write the page of what `collect` gives, wholly or not at all; `made_with` is the command that it names.

    `live`: what puts the model itself on the page (`inn.export.web.page.live_model`).
    """
    page = build_page(looks, made_with=made_with, **live).encode()
    with atomic_file(out) as file:
        file.write(page)
    return out


def collect(
    run: str | Path | Run,
    other: str | Path | Run | None = None,
    *,
    text: str | Path | None = None,
    symbols: int = SYMBOLS,
    unknown: str = "error",
    report: Report = nobody,
    warn: Warn = warnings.warn,
) -> list[dict[str, Any]]:
    """What the page shows of each run, as plain data; see `look`."""
    found = [(str(path_of(one)), *load_with_data(one, report=report)) for one in (run, other) if one is not None]
    for name, _, dataset in found[1:]:
        if dataset.vocabulary != found[0][2].vocabulary:
            raise InputError(
                f"runs '{found[0][0]}' and '{name}' read different symbols; "
                "give two runs of the same corpus and vocabulary"
            )
    chosen = passage_of(found[0][2], text, symbols, unknown)
    names = names_of([name for name, _, _ in found])
    looking = partial(report, "looking at the neurons")
    return [_of_run(name, *one, chosen, looking, warn) for name, one in zip(names, found, strict=True)]


def _of_run(
    name: str,
    run: str,
    model: SequenceModel,
    dataset: Dataset,
    chosen: dict[str, Any],
    report: Callable[[int, int], None],
    warn: Warn,
) -> dict[str, Any]:
    settings = Run(run).config().to_dict()
    if not isinstance(model, Neurons) or not hasattr(model.config, "neurons"):
        kind, like = settings["model"]["kind"], "signal" if isinstance(dataset.vocabulary, Channels) else "inn"
        raise InputError(
            f"run '{run}' is of kind '{kind}', which has no neurons to look at; give a run of kind '{like}'"
        )
    task = isinstance(dataset, TaskData)
    return {
        "name": name,
        "play": None if task and not dataset.continues else f"inn play {shlex.quote(run)}",
        "passage": read_examples(model, **chosen) if task else read_passage(model, **chosen),
        "survey": survey_of(model, dataset, name, report, warn),
        "rules": rules_of(run),
        "wiring": wiring_of(model),
        "history": history(Run(run)),
        "facts": dotted(settings),
    }


def survey_of(
    model: SequenceModel, dataset: Dataset, name: str, report: Callable[[int, int], None], warn: Warn
) -> dict[str, Any] | None:
    """What the neurons do, carry and cause on validation text; None, and a warning, where that is too short."""
    if (neurons := model.config.neurons) > LARGE:  # type: ignore[union-attr]
        warn(f"the page has no survey of the neurons: {neurons:,} of them, one by one, would take hours")
        return None
    try:
        found = survey(model, dataset, run=name, report=report)
    except InputError as error:
        warn(f"the page has no survey of the neurons: {error}")
        return None
    for note in found.get("notes", ()):
        warn(note)
    return found


def names_of(runs: list[str]) -> list[str]:
    """What runs are called: their folders' names, and their paths where those are the same.

    >>> names_of(["runs/a", "old/b"]), names_of(["runs/a", "old/a"])
    (['a', 'b'], ['runs/a', 'old/a'])
    """
    names = [Path(run).absolute().name for run in runs]
    return runs if len(set(names)) < len(names) else names


def passage_of(dataset: Dataset, text: str | Path | None, symbols: int, unknown: str) -> dict[str, Any]:
    """What is to be read: `symbols`, what comes `before` them, and a `title`; of a task `examples` of the test part."""
    if isinstance(dataset, TaskData):
        if text is not None:
            raise InputError(f"what was trained on {dataset.name} reads no text of yours; leave --text out")
        test = dataset.examples("test")
        count = max(1, int(np.searchsorted(test.starts, symbols, "right")) - 1)
        some = test.take(np.arange(min(count, len(test))))
        what = "a sequence" if len(some) == 1 else f"{len(some):,} sequences"
        title = f"{what} of the test part of {dataset.name}"
        return {"examples": some.first(symbols), "title": title, "actors": dataset.task.actors}
    if text is not None:
        read, whole = text_symbols(Path(text), dataset.vocabulary, symbols, unknown)
        return {"symbols": read, "title": Path(text).name if whole else f"the beginning of {Path(text).name}"}
    valid = dataset.split("valid")
    latest = max(0, len(valid) - symbols)
    start = beginning(valid, min(BEFORE, latest), latest, dataset.vocabulary)
    return {
        "symbols": valid[start : start + symbols],
        "before": valid[:start],
        "title": f"validation text of {dataset.name.removeprefix('file:')}",
    }


def beginning(text: np.ndarray, near: int, latest: int, vocabulary: Vocabulary) -> int:
    """Where a paragraph begins in `text`, soon after symbol `near`, not after `latest`; else a sentence, line or word.

    >>> from inn.data.vocabulary import Bytes
    >>> text = b"ity of it. One begins. Another"
    >>> beginning(np.frombuffer(text, np.uint8), 2, 25, Bytes())
    11
    """
    if near == 0:
        return 0
    decoder, starts, read = vocabulary.decoder(), [], ""
    for symbol in text[near : min(latest, near + NEAR) + 1].tolist():
        starts.append(len(read))
        read += decoder.feed(symbol)
    for pattern in _BEGINNINGS:
        if (found := pattern.search(read)) and found.end() <= starts[-1]:
            return near + bisect_left(starts, found.end())
    return near


def text_symbols(path: Path, vocabulary: Vocabulary, symbols: int, unknown: str) -> tuple[np.ndarray, bool]:
    """The first symbols of a file, and whether those are all it has; no more of it is read than they may take."""
    with plain_errors(path), path.open("rb") as file:
        content = file.read(min(_BYTES * symbols, _MOST))
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
