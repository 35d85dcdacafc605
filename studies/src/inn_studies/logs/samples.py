"""The logs of 16 systems, 2,000 lines each (loghub, Zhu et al. 2023), in four folds; and small ones, made up."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import numpy as np

from inn_studies.tasks.files import data_file

SYSTEMS = (
    "Android", "Apache", "BGL", "HDFS", "HPC", "Hadoop", "HealthApp", "Linux", "Mac", "OpenSSH", "OpenStack",
    "Proxifier", "Spark", "Thunderbird", "Windows", "Zookeeper",
)  # fmt: skip
FOLDS = 4
KEYS = {
    "Hadoop": r"\[(.*?)\]",
    "Linux": r"combo ([\w.-]+)",
    "OpenSSH": r"sshd\[(\d+)\]",
    "OpenStack": r"^(\S+?)\.log",
}
"""What tells processes apart, where several write into one log: a thread, a program, a process, a service."""
_SHAPELESS = re.compile(rb"\S*\d\S*")


def held_out(fold: int) -> tuple[str, ...]:
    """The systems of a fold, by the order of their names.

    >>> held_out(1)
    ('Apache', 'Hadoop', 'OpenSSH', 'Thunderbird')
    """
    return SYSTEMS[fold::FOLDS]


def sample(system: str, lines: int | None = None) -> bytes:
    """The log of a system; with `lines` one that is made up, of so many, for where no data are at hand.

    Raises `InputError` where it is not in the folder of data.
    """
    if lines is not None:
        return _made(SYSTEMS.index(system), lines)
    return lzma.decompress(data_file(f"logs/{system}_2k.log.xz").read_bytes())


def pretraining(fold: int, first: int, lines: int | None = None) -> list[bytes]:
    """What a model is pretrained on that reads a fold: so many first lines of each system of the other folds."""
    others = (system for system in SYSTEMS if system not in held_out(fold))
    return [b"".join(lines_of(sample(system, lines))[:first]) for system in others]


def write_fold(folder: Path, fold: int, first: int, lines: int | None = None) -> int:
    """Write what a fold's model is pretrained on into a folder, for training; returns how many bytes that are.

    Training keeps a tenth of a corpus for itself: behind the texts a part of them stands once more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = b"".join(pretraining(fold, first, lines))
    path = folder / "text.log"
    if not path.exists():
        path.write_bytes(text + text[: len(text) // 8])
    return len(text)


def lines_of(text: bytes) -> list[bytes]:
    """The lines of a text, their line breaks with them.

    >>> lines_of(b"a\\r\\n\\nb")
    [b'a\\r\\n', b'\\n', b'b']
    """
    *lines, rest = text.split(b"\n")
    return [line + b"\n" for line in lines] + [rest] * bool(rest)


def shape(line: bytes) -> bytes:
    """A line without what has a digit in it.

    >>> shape(b"12:30 sshd[7]: bye")
    b'# # bye'
    """
    return _SHAPELESS.sub(b"#", line)


def _made(seed: int, lines: int) -> bytes:
    """A log of processes that start, work and stop."""
    rng, at = np.random.default_rng([seed, 16]), 0
    verbs = rng.permutation(["start", "open", "read", "write", "close", "stop"])
    found = []
    for i in range(lines):
        at += int(rng.integers(1, 9))
        found.append(f"{at:05d} host{seed} job[{rng.integers(100, 104)}]: {verbs[i % 6]} file {rng.integers(50)}\n")
    return "".join(found).encode()
