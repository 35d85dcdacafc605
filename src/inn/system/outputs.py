"""Writes of a run that happen wholly or not at all, and a full disk in words."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inn.system.errors import InputError
from inn.system.files import sync_folder

_RESUME = "earlier checkpoints are intact: free some space and resume the run"


@contextlib.contextmanager
def writing(path: Path, when_full: str = _RESUME) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` inside the block into an `InputError`.

    `when_full`: what to do where the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"no space left on the device to write '{path}'; {when_full}") from error
        raise InputError(
            f"cannot write '{path}': {error.strerror or error}; check the folder and its permissions"
        ) from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: str | bytes, when_full: str = _RESUME) -> None:
    """Write `path` so that a reader, or a crash, sees the old content or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path, when_full):
        try:
            write_synced(temporary, content.encode() if isinstance(content, str) else content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Make `folder` where it is not there; raises `InputError` where nothing can be written into it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside `path` to fill; it becomes `path` when the block ends well and vanishes when not.

    What was at `path` is replaced. A crash at any moment leaves the old folder, the new one, or neither.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            sync_folder(temporary)
            if path.exists():
                remove_folder(path)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder so that a crash never leaves half of it under its own name."""
    trash = path.with_name(f".{path.name}.trash")
    shutil.rmtree(trash, ignore_errors=True)
    path.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete what a killed process left half-written or half-deleted in `folder`."""
    for leftover in [*folder.glob(".*.tmp"), *folder.glob(".*.trash")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
