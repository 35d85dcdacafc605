"""What a person asks of the corpora: which there are, fetch one, is it intact. Nothing here prints."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from inn.config.checks import default_of
from inn.data.corpora import corpus_text, find_corpus, pydoc_text
from inn.data.fetch import find, unpacked
from inn.data.table import CORPORA
from inn.registry import TASKS
from inn.system.errors import InputError
from inn.system.files import sha256_of
from inn.system.report import Report


def list_corpora() -> list[dict[str, Any]]:
    """One row of plain data per corpus in the table, nothing read or fetched.

    Each has `name`, `description`, `source`, `licence`, `bytes` (None where it varies), `splits` (part -> words),
    `files` (name, bytes, sha256, url of each) and `where`: `interpreter`, `INN_DATA`, `cache` or `download`.

    >>> [row["where"] for row in list_corpora() if row["name"] == "pydoc"]
    ['interpreter']
    """
    rows = []
    for corpus in CORPORA.values():
        places = [place.where if (place := find(f)) else "download" for f in corpus.files]
        rows.append(
            {
                "name": corpus.name,
                "description": corpus.description,
                "source": corpus.source,
                "licence": corpus.licence,
                "bytes": corpus.size,
                "splits": corpus.splits,
                "files": [
                    {"name": f.name, "bytes": f.size, "sha256": f.sha256, "url": f.download.url} for f in corpus.files
                ],
                # the farthest of its files decides
                "where": max(places, key=["INN_DATA", "cache", "download"].index) if places else "interpreter",
            }
        )
    return rows


def list_tasks() -> list[dict[str, Any]]:
    """One row of plain data per task: `name`, `description` (a line), `reads` (`symbols` or `a signal`), the `metric`
    (None where the data decides it), where it comes `from`, and its `options` with their defaults.

    One that cannot be imported has an `error` instead.

    >>> [row["metric"] for row in list_tasks() if row["name"] == "parity"]
    ['accuracy']
    """
    rows = []
    for name in TASKS:
        if TASKS.empty(name):
            continue
        row: dict[str, Any] = {"name": name, "from": TASKS.origin(name)}
        try:
            kind, options = TASKS[name], TASKS.options(name)
        except InputError as error:
            rows.append({**row, "error": str(error)})
            continue
        said = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        found = {f.name: getattr(default_of(f), "kind", default_of(f)) for f in fields(options) if f.name != "kind"}
        metric = kind.metric if isinstance(kind.metric, str) else None
        reads = "a signal" if kind.signal else "symbols"
        rows.append({**row, "description": said, "reads": reads, "metric": metric, "options": found})
    return rows


def get(name: str, *, report: Report | None = None) -> dict[str, Any]:
    """Make a corpus available on this machine, checked, and say where it is.

    Returns plain data: `name`, `sha256` of the text (see `CorpusText`), `bytes`, `parts` (part -> bytes) and `files`
    (name, path of each; none for `pydoc`, whose text is the interpreter's).

    Raises `InputError` as `corpus_text` does.
    """
    text = corpus_text(name, report=report)
    parts = {part: text.size(part) for part in text.parts}
    paths = dict.fromkeys(s.source for segments in text.parts.values() for s in segments if isinstance(s.source, Path))
    files = [{"name": path.name, "path": str(path)} for path in paths]
    return {"name": name, "sha256": text.sha256, "bytes": sum(parts.values()), "parts": parts, "files": files}


@dataclass(frozen=True)
class Verification:
    """Whether one file of a corpus is what the table says."""

    file: str
    path: str | None
    """None where it is not on this machine, or is part of the interpreter."""
    ok: bool
    expected: str | None
    """The declared sha256; None where it is recorded and not checked."""
    found: str | None
    """The sha256 of what is there, unpacked; None where nothing can be read."""
    note: str = ""
    """What is wrong, as a sentence."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def verify(name: str) -> list[Verification]:
    """Read every file of a corpus that is on this machine and compare; nothing is fetched, unpacked or raised for a
    damaged file.

    Raises `InputError` for an unknown corpus, and for a `file:PATH` that is not there.

    >>> [check.ok for check in verify("pydoc")]
    [True]
    """
    corpus = find_corpus(name)
    if corpus.name == "pydoc":
        return [Verification("pydoc", None, True, None, sha256_of([pydoc_text()]), "recorded, not checked")]
    if not corpus.files:
        blocks = corpus_text(name).byte_blocks
        found = sha256_of(block for part in ("train", "valid", "test") for block in blocks(part))
        return [Verification(name, corpus.source, True, None, found, "recorded, not checked")]
    results = []
    for file in corpus.files:
        place = find(file)
        if place is None:
            note = f"not on this machine; fetch it with: inn data get {name}"
            results.append(Verification(file.name, None, False, file.sha256, None, note))
            continue
        try:
            found = sha256_of(unpacked(place.path, file))
        except InputError as e:
            results.append(Verification(file.name, str(place.path), False, file.sha256, None, str(e)))
            continue
        ok = found == file.sha256
        note = "" if ok else f"{place.path} is not '{file.name}': its sha256 differs; replace it"
        results.append(Verification(file.name, str(place.path), ok, file.sha256, found, note))
    return results
