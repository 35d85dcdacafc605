"""Files on disk: writes that happen wholly or not at all, what the system refuses put in words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from inn.system.errors import InputError

BLOCK = 1 << 20
"""Bytes read from a file at a time."""


@contextlib.contextmanager
def plain_errors(path: Path | str, action: str = "read") -> Iterator[None]:
    """Turn what the operating system refuses inside the block into an `InputError` that names `path`.

    Args:
        path: the file or folder that the block reads or writes.
        action: the verb of the sentence, `read` or `write`.
    """
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"no space left on the device to write {path}; free some, or set INN_CACHE to a folder on another disk"
            ) from e
        if isinstance(e, FileNotFoundError):
            raise InputError(f"cannot {action} {path}: there is no such file or folder; check the path") from e
        if isinstance(e, PermissionError) or e.errno == errno.EROFS:
            remedy = "set INN_CACHE to a folder of your own" if action == "write" else "change its permissions"
            raise InputError(f"cannot {action} {path}: permission denied; {remedy}") from e
        raise InputError(f"cannot {action} {path}: {e.strerror or e}") from e


def _beside(path: Path) -> Path:
    """A name in the same folder, so on the same disk, that nothing else uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` last through a power cut, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` when the block ends well, and not at all when it does not.

    Raises `InputError` when the disk is full or the folder may not be written.
    """
    temporary = _beside(path)
    with plain_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `path` when the block ends well, and vanishes when it does not.

    What was at `path` is replaced. Raises `InputError` when the disk is full or the folder may not be written.
    """
    temporary = _beside(path)
    with plain_errors(path, "write"):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.iterdir():
                with file.open("r+b") as handle:  # Windows syncs only what may be written
                    os.fsync(handle.fileno())
            if path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
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
    with plain_errors(lock, "write"):
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
