"""Where the files of a corpus are: in `INN_DATA`, in the cache, or still to be downloaded.

Nothing is unpacked under a name that an archive chose, nor beyond the size the table of corpora declares, and
nothing is used whose sha256 is not the declared one.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from inn.data.corpus import Download, File
from inn.system.cache import cache_dir
from inn.system.errors import InputError
from inn.system.files import BLOCK, CACHE, atomic_file, only_one, plain_errors, sha256_of, writing
from inn.system.report import Report

_DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class Found:
    """A file of a corpus on this machine."""

    path: Path
    where: str
    """`INN_DATA` or `cache`."""

    @property
    def packed(self) -> bool:
        """Whether it is compressed, by its name."""
        return self.path.suffix in (".xz", ".gz", ".zip")


def locate(file: File, *, report: Report | None = None) -> Path:
    """Return the path of a corpus file, plain and checked: from `INN_DATA`, else the cache, else a download.

    What is compressed is unpacked into the cache once.

    Args:
        file: a file of a corpus in the table.
        report: told of the bytes downloaded and unpacked.

    Raises `InputError` where the file is damaged or not the declared one, cannot be had, or the disk is full.
    """
    found = find(file)
    if found is not None and not found.packed:
        check(found.path, file)
        return found.path
    target = cache_dir() / "corpora" / file.name
    with only_one(target, CACHE):
        found = find(file)  # another process may have unpacked it meanwhile
        if found is not None and not found.packed:
            check(found.path, file)
            return found.path
        unpack(found.path if found else download(file.download, report), file, target, report)
    return target


def find(file: File) -> Found | None:
    """Where a file is on this machine, unread: plain, packed or as its whole archive in `INN_DATA`, or in the cache.

    A plain file in the cache comes before a packed one in `INN_DATA`: it is that one, unpacked and checked earlier.
    """
    folder = data_dir()
    names = [file.name + suffix for suffix in (".xz", ".gz", ".zip")]
    if file.member is not None:
        names.append(PurePosixPath(file.download.url).name)
    cached = Found(cache_dir() / "corpora" / file.name, "cache")
    places = [Found(folder / file.name, "INN_DATA")] if folder else []
    places += [cached]
    places += [Found(folder / name, "INN_DATA") for name in names] if folder else []
    for place in places:
        with plain_errors(place.path):
            if place.path.is_file():
                return place
    return None


def data_dir() -> Path | None:
    """The folder named by `INN_DATA`, or None; raises `InputError` where it names none that exists."""
    given = os.environ.get("INN_DATA")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise InputError(f"INN_DATA is '{given}', which is not a folder; set it to the folder of your corpora")
    return folder


def check(path: Path, file: File) -> None:
    """Raise `InputError` unless `path`, plain or packed, holds exactly the declared bytes of `file`."""
    _compare(path, file, sha256_of(unpacked(path, file)))


def unpack(path: Path, file: File, target: Path, report: Report | None = None) -> None:
    """Write what `path` holds of `file` to `target`: whole and checked, or not at all."""
    digest, done = hashlib.sha256(), 0
    with atomic_file(target, CACHE) as out:
        for block in unpacked(path, file):
            digest.update(block)
            out.write(block)
            done += len(block)
            if report:
                report(f"unpacking {file.name}", done, file.size)
        _compare(path, file, digest.hexdigest())


def unpacked(path: Path, file: File) -> Iterator[bytes]:
    """Yield the bytes of `file` out of `path`, which may be compressed, and never more than declared.

    Raises `InputError` for what is damaged, too long or too short.
    """
    whole = not file.prefix or path.name.startswith(file.name)  # a file of another name is the longer archive
    done = 0
    with _opened(path, file) as stream:
        while block := stream.read(BLOCK):
            if done + len(block) > file.size:
                if whole:
                    raise InputError(
                        f"{path} holds more than the {file.size:,} bytes of '{file.name}'; {_remedy(path)}"
                    )
                block = block[: file.size - done]
            done += len(block)
            yield block
            if done == file.size and not whole:
                return
    if done < file.size:
        raise InputError(f"{path} holds {done:,} bytes, not the {file.size:,} of '{file.name}'; {_remedy(path)}")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextlib.contextmanager
def _opened(path: Path, file: File) -> Iterator[_Readable]:
    """Open a plain or packed file for reading what is inside."""
    with plain_errors(path):
        try:
            with contextlib.ExitStack() as stack:
                if path.suffix == ".xz":
                    stream = stack.enter_context(lzma.open(path))
                elif path.suffix == ".gz":
                    stream = stack.enter_context(gzip.open(path))
                elif path.suffix == ".zip":
                    archive = stack.enter_context(zipfile.ZipFile(path))
                    stream = stack.enter_context(archive.open(_member(archive, path, file)))
                else:
                    stream = stack.enter_context(path.open("rb"))
                yield stream
        except _DAMAGE as e:
            raise InputError(f"{path} is truncated or damaged ({e}); {_remedy(path)}") from e


def _member(archive: zipfile.ZipFile, path: Path, file: File) -> zipfile.ZipInfo:
    """The one member of a zip that is `file`."""
    members = [m for m in archive.infolist() if not m.is_dir()]
    for m in members:  # its names are never used to write; one that would escape says what the archive is
        name = m.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
            raise InputError(f"{path} has a member '{m.filename}' that points outside the archive; do not use it")
        if m.flag_bits & 1:
            raise InputError(f"{path} is encrypted; {_remedy(path)}")
    for wanted in (file.member, file.name):
        for m in members:
            if m.filename == wanted or PurePosixPath(m.filename).name == wanted:
                return m
    if len(members) == 1:
        return members[0]
    raise InputError(f"{path} has no member '{file.member or file.name}'; {_remedy(path)}")


def _compare(path: Path, file: File, sha256: str) -> None:
    if sha256 != file.sha256:
        raise InputError(
            f"{path} is not '{file.name}': its sha256 is {sha256} and must be {file.sha256}; {_remedy(path)}"
        )


def _remedy(path: Path) -> str:
    place = "and it is fetched again" if cache_dir() in path.parents else "or replace it"
    return f"delete it {place}"


def download(source: Download, report: Report | None = None) -> Path:
    """Return the path of what an address serves, checked, in the cache; a download that broke off goes on.

    Raises `InputError` where the network or the server fails, the bytes are not the declared ones or too many, or
    the disk is full.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would write to the terminal
    folder, name = cache_dir() / "downloads", PurePosixPath(source.url).name
    name = f"{source.sha256[:8]}-{name}"  # two addresses may end alike

    def resuming(url: str, output_file: Any, pooch: Any) -> None:
        _resume(source, folder / f"{name}.part", Path(output_file), report)

    with writing(folder, CACHE), only_one(folder / name, CACHE):
        try:
            retrieve: Any = pooch.retrieve  # pooch declares its downloaders otherwise than it calls them
            return Path(retrieve(source.url, f"sha256:{source.sha256}", name, folder, downloader=resuming))
        except InputError:
            raise
        except ValueError as e:
            raise InputError(
                f"what {source.url} served does not have the sha256 {source.sha256} and was discarded;"
                " try again, or put a copy of the corpus into the folder named by INN_DATA"
            ) from e


def _resume(source: Download, part: Path, target: Path, report: Report | None) -> None:
    """Fetch `source` into `part`, from where it broke off, and move it to `target` when all of it is there."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    # Compression on the way would make the server's byte ranges mean something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(source.url, headers=headers, stream=True, timeout=30) as reply:
            if reply.status_code != 416:  # 416: nothing is left to send
                reply.raise_for_status()
                have = have if reply.status_code == 206 else 0
                _receive(reply, source, part, have, report)
    except requests.RequestException as e:
        kept = part.stat().st_size if part.exists() else 0
        note = f" ({kept:,} bytes are kept and the next try goes on from there)" if kept else ""
        raise InputError(
            f"cannot download {source.url}: {_short(e, source.url)}{note}; try again, or put the corpus into the folder"
            " named by INN_DATA"
        ) from e
    except OSError:
        part.unlink(missing_ok=True)  # a full disk is not left full
        raise
    part.replace(target)


def _receive(reply, source: Download, part: Path, have: int, report: Report | None) -> None:
    """Append the body of a `requests.Response` to `part`, which keeps its first `have` bytes."""
    import requests

    length = int(reply.headers.get("Content-Length", 0))
    total = have + length if length else 0
    with part.open("ab" if have else "wb") as out:
        for block in reply.iter_content(BLOCK // 16):
            have += len(block)
            if have > source.most:
                part.unlink()
                raise InputError(f"{source.url} serves more than the {source.most:,} bytes it should; nothing was kept")
            out.write(block)
            if report:
                report(f"downloading {PurePosixPath(source.url).name}", have, total)
    if total and have < total:
        raise requests.exceptions.ChunkedEncodingError  # some servers close a connection as if all were said


def _short(error: Exception, url: str) -> str:
    """Why a download failed, without the objects that the libraries wrap it in."""
    import requests

    if (reply := getattr(error, "response", None)) is not None:
        return f"the server answered {reply.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return f"no connection to {urlsplit(url).hostname}"
    return str(error)
