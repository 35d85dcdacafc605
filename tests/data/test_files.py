from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest

from inn.system.cache import cache_dir
from inn.system.errors import InputError
from inn.system.files import CACHE, RUN, atomic_file, new_folder, only_one, plain_errors, writing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_cache_is_where_it_is_told_to_be(own_cache, monkeypatch):
    assert cache_dir() == own_cache
    monkeypatch.delenv("INN_CACHE")
    assert cache_dir().name == "inn"


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "file"
    with atomic_file(target) as file:
        file.write(b"abc")
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert names(target.parent) == ["file"]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError("broken")])
def test_what_breaks_off_leaves_the_old_file(tmp_path, trouble):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(BaseException), atomic_file(target) as file:  # noqa: B017, PT012
        file.write(b"new")
        raise trouble
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, full_disk):
    full_disk(tmp_path, 10)

    def write() -> None:
        with atomic_file(tmp_path / "file", CACHE) as file:
            file.write(b"123456")
            file.write(b"123456")

    with pytest.raises(InputError, match=r"no space left on the device to write '.*file'; free some, or set INN_CACHE"):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("contested", [False, True])
def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path, contested):
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with new_folder(target, contested=contested) as new:
            (new / content).write_text(content)
        assert names(target) == [content]
    with pytest.raises(RuntimeError), new_folder(target, contested=contested) as new:  # noqa: PT012
        (new / "three").write_text("half")
        raise RuntimeError
    assert names(target) == ["two"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("block", "error", "said"),
    [
        (plain_errors, FileNotFoundError(errno.ENOENT, "x"), "cannot read .*no such file or folder"),
        (plain_errors, PermissionError(errno.EACCES, "x"), "cannot read .*permission denied; change its permissions"),
        (plain_errors, IsADirectoryError(errno.EISDIR, "Is a directory"), "cannot read .*Is a directory"),
        (writing, PermissionError(errno.EACCES, "Permission denied"), "cannot write .*Permission denied; check"),
        (writing, OSError(errno.EROFS, "Read-only file system"), "cannot write .*Read-only file system"),
        (writing, OSError(errno.ENOSPC, "x"), "no space left on the device .*choose another place"),
        (writing, OSError(errno.EDQUOT, "x"), "no space left on the device"),
    ],
)
def test_refusals_name_the_path(block, error, said):
    with pytest.raises(InputError, match=said) as got, block("/some/where"):
        raise error
    assert "/some/where" in str(got.value)


def test_the_remedy_is_that_of_the_place():
    for place, remedies in ((CACHE, ("INN_CACHE", "INN_CACHE")), (RUN, ("resume the run", "permissions"))):
        for error, remedy in zip((errno.ENOSPC, errno.EACCES), remedies, strict=True):
            with pytest.raises(InputError, match=remedy), writing("/some/where", place):
                raise OSError(error, "x")


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write"), atomic_file(tmp_path / "file" / "x") as file:
        file.write(b"")


def test_only_one_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with only_one(tmp_path / "thing"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
