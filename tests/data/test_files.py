from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest

from inn.system.cache import cache_dir
from inn.system.errors import InputError
from inn.system.files import atomic_file, atomic_folder, only_one, plain_errors


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
        with atomic_file(tmp_path / "file") as file:
            file.write(b"123456")
            file.write(b"123456")

    with pytest.raises(InputError, match=r"no space left on the device to write .*file; free some, or set INN_CACHE"):
        write()
    assert names(tmp_path) == []


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "folder"
    for content in ("one", "two"):
        with atomic_folder(target) as new:
            (new / content).write_text(content)
        assert names(target) == [content]
    with pytest.raises(RuntimeError), atomic_folder(target) as new:  # noqa: PT012
        (new / "three").write_text("half")
        raise RuntimeError
    assert names(target) == ["two"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "x"), "no such file or folder"),
        (PermissionError(errno.EACCES, "x"), "permission denied"),
        (OSError(errno.EROFS, "x"), "permission denied"),
        (OSError(errno.ENOSPC, "x"), "no space left on the device"),
        (OSError(errno.EDQUOT, "x"), "no space left on the device"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "Is a directory"),
    ],
)
def test_refusals_name_the_path(error, said):
    with pytest.raises(InputError, match=said) as got, plain_errors("/some/where"):
        raise error
    assert "/some/where" in str(got.value)


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
