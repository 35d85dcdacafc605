"""Texts too large for one file or one process: encoded piece by piece, in parallel, into a folder of shards.

    FOLDER/plan.json  vocabulary.json  train-00000.bin ...  valid-00000.bin ...  test-00000.bin ...  dataset.json

A piece is written whole or not at all, and what is there is not done again, so preparation can be killed and started
anew at any time. `dataset.json` comes last. The folder needs neither its text nor this machine.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from inn.data.base import Vocabulary
from inn.data.corpora import corpus_text
from inn.data.encode import encoded, learned
from inn.data.text import PARTS, CorpusText, Segment, split_text
from inn.data.vocabulary import Characters, build_vocabulary
from inn.registry import VOCABULARIES
from inn.system.errors import InputError
from inn.system.files import atomic_file, only_one, plain_errors
from inn.system.packages import require
from inn.system.parse import read_json
from inn.system.report import Report

FORMAT = 1
PIECE = 256 << 20
"""Bytes of text that become one shard."""


class Shards:
    """Symbols in several memory-mapped files, read as one array `[n]`: `len`, slices and `np.asarray` of it.

    >>> text = Shards([np.arange(3), np.arange(3, 8)])
    >>> len(text), text[1:5].tolist(), text[-2:].tolist()
    (8, [1, 2, 3, 4], [6, 7])
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self.parts = list(parts)
        self.ends = np.cumsum([len(part) for part in parts])
        self.dtype = self.parts[0].dtype

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, where: slice) -> np.ndarray:
        start, stop, step = where.indices(len(self))
        if step != 1:
            raise IndexError(f"symbols in shards are read one after the other, not in steps of {step}")
        found = []
        for i in range(int(np.searchsorted(self.ends, start, side="right")), len(self.parts)):
            first = int(self.ends[i]) - len(self.parts[i])
            if first >= stop:
                break
            found.append(self.parts[i][max(0, start - first) : stop - first])
        return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, self.dtype), *found])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def prepare_shards(
    corpus: str,
    folder: str | Path,
    vocabulary: str = "characters",
    *,
    units: int = 2048,
    workers: int = 1,
    piece: int = PIECE,
    report: Report | None = None,
) -> Path:
    """Encode a corpus into a folder of shards, several pieces at a time; goes on where an earlier call was killed.

    The symbols are those of `prepare`, in the same order and the same three parts, whatever `workers` and `piece`; but
    sub-words (`bpe`) never reach over the end of a piece.

    Args:
        corpus: a corpus by name, or `file:PATH` (a folder of text files, say).
        folder: where the shards go; new, empty, or with the beginning of the same preparation.
        vocabulary: `bytes`, `characters`, `words` or `bpe`; `units` sub-words of the latter.
        workers: processes that encode.
        piece: bytes of text per shard.
        report: told of what is done, in bytes.

    Returns the folder, which `--data.corpus shards:FOLDER` reads.

    Raises `InputError` as `corpus_text` does, and for a folder that holds something else.

    Example: ``prepare_shards("file:crawl", "shards", "bytes", workers=8)``
    """
    for name, value in (("workers", workers), ("piece", piece)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    VOCABULARIES.check(vocabulary)
    folder, text = Path(folder), corpus_text(corpus, VOCABULARIES[vocabulary].boundary)
    with only_one(folder), _all_or_some(folder):
        plan = {"format": FORMAT, "sha256": text.sha256, "vocabulary": vocabulary, "units": units, "piece": piece}
        _begin(folder, plan)
        pieces = {part: list(_pieces(text, part, vocabulary, piece)) for part in PARTS}
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            symbols = _vocabulary(folder, text, pieces, vocabulary, units, pool)
            jobs, done = [], 0
            for part, segments in pieces.items():
                for i, segment in enumerate(segments):
                    jobs.append((folder / f"{part}-{i:05}.bin", text.name, segment, symbols.to_json()))
            total = sum(segment.stop - segment.start for _, _, segment, _ in jobs)
            waiting = [job for job in jobs if not job[0].is_file()]
            done = total - sum(job[2].stop - job[2].start for job in waiting)
            for written in pool.map(_encode, waiting):
                done += written
                if report:
                    report(f"encoding {corpus}", done, total)
        about = {
            **plan,
            "sizes": {
                part: [_size(folder / f"{part}-{i:05}.bin", symbols) for i in range(len(pieces[part]))]
                for part in PARTS
            },
            "bytes": {part: text.size(part) for part in PARTS},
            "symbols": json.loads(symbols.to_json()),
        }
        _write(folder / "dataset.json", about)
    return folder


@contextmanager
def _all_or_some(folder: Path) -> Iterator[None]:
    """Where a preparation fails before its first shard is written, leave nothing of it behind."""
    begun = (folder / "plan.json").exists()
    try:
        yield
    except BaseException:
        if not begun and not any(folder.glob("*.bin")):
            for name in ("plan.json", "vocabulary.json"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # there was something else in it
                folder.rmdir()
        raise


def open_shards(folder: str | Path) -> tuple[dict[str, np.ndarray | Shards], Vocabulary, str]:
    """The parts of a prepared folder, mapped from disk, their vocabulary, and the sha256 of their text.

    Raises `InputError` where it is no such folder, is not finished, or is damaged.
    """
    folder = Path(folder).expanduser()
    with plain_errors(folder):
        if (folder / "plan.json").is_file() and not (folder / "dataset.json").is_file():
            raise InputError(f"the shards in {folder} are not finished; start their preparation again, it will go on")
    about = read_json(folder / "dataset.json")
    try:
        if about["format"] != FORMAT:
            raise InputError(
                f"the shards in {folder} are of format {about['format']}; this version of inn reads {FORMAT}"
            )
        vocabulary = Vocabulary.from_json(about["symbols"])
        sizes = {part: [int(n) for n in about["sizes"][part]] for part in PARTS}
        sha256 = str(about["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / 'dataset.json'} is not what `inn data prepare` writes ({error})") from error
    parts: dict[str, np.ndarray | Shards] = {}
    for part in PARTS:
        maps = [_mapped(folder / f"{part}-{i:05}.bin", vocabulary.dtype, n) for i, n in enumerate(sizes[part])]
        parts[part] = Shards(maps) if len(maps) > 1 else next(iter(maps), np.empty(0, vocabulary.dtype))
    return parts, vocabulary, sha256


def _begin(folder: Path, plan: dict[str, Any]) -> None:
    there = folder / "plan.json"
    if there.is_file():
        old = read_json(there)
        different = [name for name in plan if old.get(name) != plan[name]]
        if different:
            name = different[0]
            raise InputError(
                f"{folder} holds shards of another preparation ({name} {old.get(name)}, not {plan[name]}); "
                "choose another folder"
            )
        return
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir() if path.name != "text"):
        raise InputError(f"{folder} is not empty; choose another folder for the shards")
    _write(there, plan)


def _write(path: Path, tree: dict[str, Any]) -> None:
    with atomic_file(path) as file:
        file.write((json.dumps(tree) + "\n").encode("ascii"))


def _pieces(text: CorpusText, part: str, vocabulary: str, size: int) -> Iterator[Segment]:
    """The segments of a part, cut where the vocabulary can be: between bytes, characters or words."""
    for segment in text.parts[part]:
        length = segment.stop - segment.start
        for cuts in split_text([segment], range(size, length, size), VOCABULARIES[vocabulary].shard_boundary):
            yield from cuts


def _vocabulary(
    folder: Path, text: CorpusText, pieces: dict[str, list[Segment]], kind: str, units: int, pool: ProcessPoolExecutor
) -> Vocabulary:
    path = folder / "vocabulary.json"
    if path.is_file():
        return Vocabulary.load(path)
    if kind == Characters.kind:  # a set of them is made piece by piece
        found = pool.map(_characters, [(text.name, segment) for part in PARTS for segment in pieces[part]])
        symbols = build_vocabulary(kind, sorted(set().union(*found)))
    else:
        symbols = learned(text, kind, units)
    symbols.save(path)
    return symbols


def _characters(job: tuple[str, Segment]) -> set[str]:
    name, segment = job
    return set().union(*CorpusText(name, "", {"piece": (segment,)}).text_blocks("piece"))


def _encode(job: tuple[Path, str, Segment, str]) -> int:
    """Write the symbols of one piece; returns its bytes of text."""
    path, name, segment, vocabulary = job
    text = CorpusText(name, "", {"piece": (segment,)})
    with atomic_file(path) as out:
        for symbols, _ in encoded(text, "piece", Vocabulary.from_json(vocabulary)):
            out.write(symbols.tobytes())
    return segment.stop - segment.start


def _size(path: Path, vocabulary: Vocabulary) -> int:
    return path.stat().st_size // vocabulary.dtype.itemsize


def _mapped(path: Path, dtype: np.dtype, size: int) -> np.ndarray:
    with plain_errors(path):
        if path.stat().st_size != size * dtype.itemsize:
            raise InputError(f"{path} is damaged: it is not {size:,} symbols long; copy it again, or prepare it again")
        return np.memmap(path, dtype, mode="r", shape=(size,)) if size else np.empty(0, dtype)


def stream_texts(documents: Iterable[str], folder: str | Path, *, piece: int = PIECE) -> Path:
    """Write a stream of documents into a folder of text files, a line break after each; goes on after a kill.

    A file is written whole or not at all; those that are there say how many documents they hold, and as many are
    passed over (by `skip`, where the stream has one, as those of the library `datasets` do).

    Args:
        documents: the texts; the same ones in the same order whenever it is called.
        folder: where the files go.
        piece: bytes of a file, at least; the document that fills it is the last one in it.

    Returns the folder; `file:FOLDER` is the corpus.

    Example: ``stream_texts(DatasetTexts("wikitext"), "texts")``
    """
    folder = Path(folder)
    there = sorted(folder.glob("*.txt"))
    passed = sum(int(path.stem.split("-")[1]) for path in there)
    if hasattr(documents, "skip"):
        rest = iter(documents.skip(passed))  # type: ignore[attr-defined]
    else:
        rest = iter(documents)
        for _ in range(passed):
            next(rest, None)
    number, block, size = len(there), [], 0
    for document in rest:
        block.append(document.rstrip("\n") + "\n")
        size += len(block[-1].encode())
        if size >= piece:
            _text(folder, number, block)
            number, block, size = number + 1, [], 0
    if block:
        _text(folder, number, block)
    if not any(folder.glob("*.txt")):
        raise InputError("the stream of documents is empty; give it a text to read")
    return folder


def _text(folder: Path, number: int, block: list[str]) -> None:
    with atomic_file(folder / f"{number:05}-{len(block)}.txt") as file:
        file.writelines(line.encode() for line in block)


class DatasetTexts:
    """The texts of a dataset of the library `datasets`, streamed: nothing but what is read is fetched.

    Args:
        name: a dataset's name on the Hub, or the folder of one here.
        split: the split to read.
        column: the column that holds the text.

    Raises `InputError` where the library is missing, and for a dataset without such a split or column.
    """

    def __init__(self, name: str, split: str = "train", column: str = "text"):
        datasets = require("datasets", f"streaming dataset '{name}'", "data")
        try:
            if (Path(name) / "dataset_info.json").is_file() or (Path(name) / "dataset_dict.json").is_file():
                found = datasets.load_from_disk(name)
                rows = found[split] if isinstance(found, datasets.DatasetDict) else found
                self._rows: Any = rows.to_iterable_dataset()
            else:
                self._rows = datasets.load_dataset(name, split=split, streaming=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"dataset '{name}' cannot be read: {' '.join(str(error).split())}") from error
        self.name, self.column = name, column

    def skip(self, count: int) -> Iterator[str]:
        """The texts after the first `count`."""
        for row in self._rows.skip(count):
            if self.column not in row:
                raise InputError(f"dataset '{self.name}' has no column '{self.column}'; it has {', '.join(row)}")
            yield row[self.column]

    def __iter__(self) -> Iterator[str]:
        return self.skip(0)
