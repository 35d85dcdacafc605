"""What a corpus is: its files, where each is served, how its text is split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from inn.data.text import PARTS


@dataclass(frozen=True)
class Download:
    """What an address serves."""

    url: str
    sha256: str
    """Of the bytes served; anything else is refused before it is unpacked."""
    most: int
    """Bytes after which a download is given up."""


@dataclass(frozen=True)
class File:
    """One file of a corpus."""

    name: str
    """Its name in `INN_DATA` (there also with .xz, .gz or .zip appended) and in the cache."""
    size: int
    """Bytes when unpacked; nothing is unpacked beyond."""
    sha256: str
    """Of the unpacked bytes."""
    download: Download
    member: str | None = None
    """The path inside the archive that the address serves; None where it serves the file itself."""
    prefix: bool = False
    """The archive's member is longer; the file is its first `size` bytes."""


@dataclass(frozen=True)
class Corpus:
    """A text that models are trained on and measured by."""

    name: str
    description: str
    source: str
    licence: str
    files: tuple[File, ...] = ()
    """One file that is cut, or three: train, valid, test. None: the text is found when it is asked for."""
    split: tuple[int, int, int] | None = None
    """Bytes of train, valid and test in the one file; None: by files, or 90/5/5 % of the bytes."""

    @property
    def size(self) -> int | None:
        """Bytes of all files, unpacked; None where that is known only once the text is read."""
        return sum(f.size for f in self.files) or None

    @property
    def sha256(self) -> str | None:
        """What identifies the text (see `CorpusText.sha256`); None where it is recorded and not checked."""
        return _identity([f.sha256 for f in self.files]) if self.files else None

    @property
    def splits(self) -> dict[str, str]:
        """Train, valid and test in words."""
        if self.split is not None:
            ends = [sum(self.split[: i + 1]) for i in range(3)]
            return {p: f"bytes {e - n:,} to {e:,}" for p, n, e in zip(PARTS, self.split, ends)}
        if len(self.files) == 3:
            return {p: f.name for p, f in zip(PARTS, self.files)}
        return {"train": "first 90 %", "valid": "next 5 %", "test": "last 5 %"}


def _identity(digests: list[str]) -> str:
    """One file's sha256, or the sha256 of several files' digests, one a line."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()
