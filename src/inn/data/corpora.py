"""From the name of a corpus to its text, in its three parts."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from inn.config.run import task_of
from inn.data.corpus import Corpus
from inn.data.fetch import locate
from inn.data.table import CORPORA
from inn.data.text import PARTS, Boundary, CorpusText, Segment, split_text
from inn.registry import TASKS
from inn.system.errors import InputError, nearest
from inn.system.files import check_regular, plain_errors
from inn.system.report import Report

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\3\4": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
"""How compressed files begin."""


def find_corpus(name: str) -> Corpus:
    """Return the corpus of a name in `CORPORA`, or one that stands for `file:PATH`.

    Raises `InputError` for an unknown name, with the nearest known one.

    >>> find_corpus("text8").splits["valid"]
    'bytes 90,000,000 to 95,000,000'
    """
    if name.startswith("file:"):
        if not name.removeprefix("file:"):
            raise InputError("corpus 'file:' names no path; write file:PATH, with a file, a folder or a glob")
        return Corpus(name, "your own text", name.removeprefix("file:"), "yours")
    if name in CORPORA:
        return CORPORA[name]
    if name.startswith("shards:"):
        return Corpus(name, "shards of your own", name.removeprefix("shards:"), "yours")
    if name and os.path.exists(name):  # noqa: PTH110 - false, not an error, for what no path can be
        raise InputError(f"unknown corpus '{name}'; there is a file or folder of that name, so write 'file:{name}'")
    if task_of(name) != "none":
        raise InputError(f"corpus '{name}' holds examples with targets, and a text is asked for")
    if name in TASKS:
        raise InputError(f"unknown corpus '{name}'; there is a task of that name, so write 'task:{name}'")
    raise InputError(f"unknown corpus '{name}'{nearest(name, [*CORPORA, 'file:PATH', 'task:NAME'])}")


def check_corpus(name: str) -> None:
    """Raise `InputError` for a name that is none, and for files of one's own that are not there; nothing is read."""
    source, _, path = name.partition(":")
    if (task := task_of(name)) != "none":
        TASKS.check(task)
        if source == task and not Path(path).is_file():
            raise InputError(f"there is no file '{path}', which corpus '{name}' names; write {source}:PATH")
        return
    corpus = find_corpus(name)
    if name.startswith("file:"):
        own_files(corpus.source)


def corpus_text(name: str, boundary: Boundary = "bytes", *, report: Report | None = None) -> CorpusText:
    """Find the text of a corpus, downloading it if need be, and cut it into train, valid and test.

    Args:
        name: a name in `CORPORA`, or `file:PATH`.
        boundary: `bytes` cuts where the table says; `characters` and `words` move a cut back out of the middle of
            a UTF-8 character or of a word.
        report: called with (what, bytes done, bytes in all) while a file is fetched.

    Raises `InputError` for an unknown name, an empty text, a file that is missing, forbidden or damaged, a wrong
    checksum, and no space left on the device.

    Example:
        >>> text = corpus_text("pydoc")
        >>> text.size("train") > 10 * text.size("valid")
        True
    """
    corpus = find_corpus(name)
    if name.startswith("shards:"):
        raise InputError(f"corpus '{name}' holds symbols, and its text is asked for; name the text, as file:PATH")
    if len(corpus.files) == 3:
        segments = [Segment(locate(f, report=report), 0, f.size) for f in corpus.files]
        return CorpusText(name, corpus.sha256 or "", {p: (s,) for p, s in zip(PARTS, segments)})
    whole = _whole(corpus, report)
    total = sum(s.stop - s.start for s in whole)
    if total == 0:
        raise InputError(f"corpus '{name}' is empty; give it a text to read")
    sha256 = corpus.sha256 or CorpusText(name, "", {"all": whole}).digest()
    if corpus.split is not None:
        ends = corpus.split[0], corpus.split[0] + corpus.split[1]
    else:
        ends = total * 90 // 100, total * 95 // 100
    return CorpusText(name, sha256, dict(zip(PARTS, split_text(whole, ends, boundary))))


def _whole(corpus: Corpus, report: Report | None) -> tuple[Segment, ...]:
    """The text of a corpus that is one text, uncut."""
    if corpus.files:
        (file,) = corpus.files
        return (Segment(locate(file, report=report), 0, file.size),)
    if corpus.name == "pydoc":
        text = pydoc_text()
        return (Segment(text, 0, len(text)),)
    segments = []
    for path in own_files(corpus.source):
        segments.append(Segment(path, 0, check_regular(path)))
        check_plain(path)
    return tuple(segments)


def check_plain(path: Path) -> None:
    """Raise `InputError` for a file that is compressed: its bytes are no text, and its name or beginning says so."""
    with plain_errors(path), path.open("rb") as file:
        head = file.read(6)
    if kind := next((kind for mark, kind in _COMPRESSED.items() if head.startswith(mark)), None):
        raise InputError(f"{path} is compressed ({kind}), so its bytes are no text; unpack it first")


def pydoc_text() -> bytes:
    """The interpreter's own documentation as UTF-8: every topic, in the order of their names."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics)).encode()


def own_files(pattern: str) -> list[Path]:
    """The files of `file:PATTERN`: a file, all files under a folder, or those a glob matches (`**` for any depth).

    Sorted by path; what a folder or `**` holds under a name that starts with a dot is left out. Their texts are read
    one after the other, with nothing put between.

    Raises `InputError` where there is no file.
    """
    path = Path(pattern).expanduser()
    with plain_errors(path):
        if path.is_dir():
            found = list(_files_under(path))
            if not found:
                raise InputError(f"the folder {path} holds no files; name one that holds text")
        elif path.exists():
            found = [path]
        else:
            found = [p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file()]  # noqa: PTH207 - may be absolute
            if not found:
                raise InputError(f"there is no file, folder or glob match at '{pattern}'; check the path")
    return sorted(found)


def _files_under(folder: Path) -> Iterator[Path]:
    """All files at any depth, without hidden ones; raises `OSError` for a folder that may not be read."""

    def refuse(error: OSError) -> None:  # os.walk would pass over it in silence
        raise error

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in files if not name.startswith(".") and (path := Path(at, name)).is_file())
