"""Files on disk: writes that happen wholly or not at all, and what the system refuses in words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from inn.system.errors import InputError

BLOCK = 1 << 20
"""Bytes read from a file at a time."""
FIGURES = (".png", ".svg", ".pdf")


class Place(NamedTuple):
    """What a person can do where the system refuses to write.

    Attributes:
        full: where no space is left.
        refused: where it is anything else, permissions first.
    """

    full: str
    refused: str


CHOSEN = Place("free some, or choose another place", "check the folder and its permissions")
"""A place that the user named."""
RUN = Place("earlier checkpoints are intact: free some space and resume the run", CHOSEN.refused)
"""A run that is under way."""
CACHE = Place("free some, or set INN_CACHE to a folder on another disk", "set INN_CACHE to a folder of your own")
"""The cache (`cache_dir`)."""


@contextlib.contextmanager
def plain_errors(path: Path | str) -> Iterator[None]:
    """Turn what the operating system refuses inside a block that reads `path` into an `InputError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: there is no such file or folder; check the path") from error
    except PermissionError as error:
        raise InputError(f"cannot read {path}: permission denied; change its permissions") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def check_regular(path: Path | str) -> int:
    """The bytes of a file; raises `InputError` for what is not there and what cannot be read twice, a pipe for one."""
    with plain_errors(path):
        found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"cannot read {path}: it is not a regular file; write it to one first")
    return found.st_size


def read_file(path: Path | str, most: int) -> bytes:
    """The content of a regular file of at most so many bytes."""
    if (size := check_regular(path)) > most:
        raise InputError(f"cannot read {path}: it is of {size:,} bytes, and at most {most:,} are read")
    with plain_errors(path):
        return Path(path).read_bytes()


@contextlib.contextmanager
def writing(path: Path | str, place: Place = CHOSEN) -> Iterator[None]:
    """Turn what the operating system refuses inside a block that writes `path` into an `InputError` that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = str(error)  # all there is of the system's answer where a library without OSErrors does the writing
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in said:
            raise InputError(f"no space left on the device to write '{path}'; {place.full}") from error
        if not isinstance(error, OSError) and "(os error " not in said:
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else said
        raise InputError(f"cannot write '{path}': {reason}; {place.refused}") from error


def check_writable(folder: Path) -> None:
    """Make `folder` where it is not there; raises `InputError` where nothing can be written into it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def check_place(path: str | Path) -> None:
    """Raise `InputError` where the system would refuse to make `path`, before there is work to lose; makes nothing."""
    with writing(path):
        place = Path(path).absolute().parent
        while not place.exists():
            place = place.parent
        Path(tempfile.mkdtemp(dir=place)).rmdir()


def check_free(path: str | Path) -> None:
    """Raise `InputError` where a file to be written is there already, or cannot be."""
    if Path(path).exists():
        raise InputError(f"'{path}' exists already; remove it, or choose another name")
    check_place(path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` last through a power cut, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_file(path: Path, content: str | bytes, place: Place = CHOSEN) -> None:
    """Write `path` so that a reader, or a crash, sees the old content or the new one and nothing between."""
    with _replacing(path, _beside(path), place) as temporary:
        write_synced(temporary, content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path, place: Place = CHOSEN) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` when the block ends well, and not at all when it does not.

    Its folder is made. Raises `InputError` when the disk is full or the folder may not be written.
    """
    with writing(path, place):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path, _beside(path), place) as temporary, temporary.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def check_figure(path: str | Path) -> None:
    """Raise `InputError` where no figure can be written to `path`: for its ending, or its place."""
    _check_ending(Path(path))
    check_place(path)


def _check_ending(path: Path) -> None:
    if path.suffix not in FIGURES:
        raise InputError(f"nothing can be drawn into '{path}'; give a name that ends in .png, .svg or .pdf")


def write_figure(figure: Any, path: Path, **options: Any) -> None:
    """Write a figure of Matplotlib's wholly or not at all, as the ending of `path` says: .png, .svg or .pdf."""
    _check_ending(path)
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], **options)


@contextlib.contextmanager
def new_folder(path: Path, place: Place = CHOSEN, *, contested: bool = False) -> Iterator[Path]:
    """Give a hidden folder beside `path` to fill; it becomes `path` when the block ends well and vanishes when not.

    What was at `path` is replaced. A crash at any moment leaves the old folder, the new one, or neither.

    Args:
        path: the folder to be.
        place: what there is to do where it cannot be written.
        contested: whether several processes may be making it, each for itself. Else the hidden folder is
            `.NAME.tmp`, for all processes of one run to fill, and what a killed one left of it is removed first.
    """
    temporary = _beside(path) if contested else path.with_name(f".{path.name}.tmp")
    with _replacing(path, temporary, place):
        _delete(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("r+b") as handle:  # Windows syncs only what may be written
                    os.fsync(handle.fileno())
        sync_folder(temporary)
        if path.exists():
            remove_folder(path)


@contextlib.contextmanager
def _replacing(path: Path, temporary: Path, place: Place) -> Iterator[Path]:
    """What the block makes at `temporary` takes the place of `path` when it ends well, and is deleted when not."""
    with writing(path, place):
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            _delete(temporary)
            raise
        sync_folder(path.parent)


def _beside(path: Path) -> Path:
    """A name in the same folder, so on the same disk, that nothing else uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def remove_folder(path: Path) -> None:
    """Delete a folder so that a crash never leaves half of it under its own name."""
    trash = path.with_name(f".{path.name}.trash")
    shutil.rmtree(trash, ignore_errors=True)
    path.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process left half-written or half-deleted in `folder`."""
    for leftover in [*folder.glob(".*.tmp"), *folder.glob(".*.trash")]:
        _delete(leftover)


@contextlib.contextmanager
def only_one(path: Path, place: Place = CHOSEN) -> Iterator[None]:
    """Let one process at a time into the block for `path`; the others wait, then find the work done.

    Several processes of one training run ask for the same corpus at the same moment. Where the platform has no
    file locks they all do the work; writes are atomic, so that costs time and nothing else.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    with writing(lock, place):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("ab")
    with handle:
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def taken(path: Path) -> bool:
    """Whether a process is in the block of `only_one(path)` now; False where the platform cannot tell."""
    try:
        import fcntl

        with path.with_name(f".{path.name}.lock").open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False


def sha256_of(blocks: Iterable[bytes]) -> str:
    """The sha256, in hexadecimal, of bytes that come in blocks.

    >>> sha256_of([b"a", b"bc"])[:16]
    'ba7816bf8f01cfea'
    """
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
