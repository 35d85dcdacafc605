from __future__ import annotations

import gzip
import hashlib
import lzma
import zipfile
from pathlib import Path

import pytest
import requests

from inn.data.fetch import Found, download, find, locate
from inn.system.errors import InputError

TALE = b"Once upon a time there was a neuron.\n" * 500


def packed(folder: Path, suffix: str, payload: bytes = TALE, name: str = "tale.txt", member: str | None = None) -> Path:
    path = folder / (name + suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member or name, payload)
    else:
        path.write_bytes({"": bytes, ".xz": lzma.compress, ".gz": gzip.compress}[suffix](payload))
    return path


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zip"])
def test_files_are_found_in_inn_data(inn_data, own_cache, declare, leftovers, suffix):
    file = declare(TALE)
    given = packed(inn_data, suffix)
    path = locate(file)
    assert path.read_bytes() == TALE
    if suffix:
        assert path == own_cache / "corpora" / "tale.txt"
        given.unlink()  # what was unpacked once is found again
        assert locate(file) == path
    else:
        assert path == given
        assert leftovers(own_cache) == []


def test_plain_comes_before_cache_before_packed(inn_data, own_cache, declare):
    file = declare(TALE)
    packed(inn_data, ".xz")
    assert find(file) == Found(inn_data / "tale.txt.xz", "INN_DATA")
    locate(file)
    assert find(file) == Found(own_cache / "corpora" / "tale.txt", "cache")
    packed(inn_data, "")
    assert find(file) == Found(inn_data / "tale.txt", "INN_DATA")


def test_progress_is_told(inn_data, declare):
    packed(inn_data, ".xz")
    told = []
    locate(declare(TALE), report=lambda *what: told.append(what))
    assert told[-1] == ("unpacking tale.txt", len(TALE), len(TALE))


def test_several_files_of_one_archive(inn_data, declare):
    with zipfile.ZipFile(inn_data / "tales-v1.zip", "w") as archive:
        for part in ("train", "valid"):
            archive.writestr(f"tales/tale.{part}.tokens", part * 10)
        archive.writestr("tales/", "")
    for part in ("train", "valid"):
        payload = (part * 10).encode()
        url = "https://example.invalid/tales-v1.zip"
        file = declare(payload, f"tale.{part}.txt", member=f"tales/tale.{part}.tokens", url=url)
        assert locate(file).read_bytes() == payload
    missing = declare(b"x", "tale.test.txt", member="tales/tale.test.tokens", url=url)
    with pytest.raises(InputError, match=r"no member 'tales/tale\.test\.tokens'"):
        locate(missing)


def test_a_prefix_is_taken_of_the_archive_and_of_nothing_else(inn_data, declare):
    url, part = "https://example.invalid/whole.zip", TALE[:100]
    packed(inn_data, ".zip", TALE, "whole")
    file = declare(part, "part.txt", member="whole", prefix=True, url=url)
    assert locate(file).read_bytes() == part
    packed(inn_data, "", TALE, "part.txt")  # a file of the very name has to be exactly that long
    with pytest.raises(InputError, match="more than the 100 bytes"):
        locate(file)


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zip"])
@pytest.mark.parametrize("keep", [0, 10, -20])
def test_a_truncated_file_is_refused(inn_data, own_cache, declare, leftovers, suffix, keep):
    path = packed(inn_data, suffix)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"truncated or damaged|holds 0 bytes") as error:
        locate(declare(TALE))
    assert str(path) in str(error.value)
    assert "replace it" in str(error.value)
    assert leftovers(own_cache) == []


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zip"])
def test_a_flipped_byte_is_refused(inn_data, own_cache, declare, leftovers, suffix):
    path = packed(inn_data, suffix)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged|sha256|has no member|holds"):
        locate(declare(TALE))
    assert leftovers(own_cache) == []


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zip"])
def test_a_wrong_checksum_is_refused(inn_data, own_cache, declare, leftovers, suffix):
    other = TALE.replace(b"neuron", b"neurom")
    path = packed(inn_data, suffix, other)
    with pytest.raises(InputError) as error:
        locate(declare(TALE))
    for said in (str(path), hashlib.sha256(TALE).hexdigest(), hashlib.sha256(other).hexdigest()):
        assert said in str(error.value)
    assert leftovers(own_cache) == []


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zip"])
def test_a_bomb_stops_at_the_declared_size(inn_data, own_cache, declare, leftovers, monkeypatch, suffix):
    packed(inn_data, suffix, TALE + bytes(64 << 20))
    written = []
    monkeypatch.setattr("inn.data.fetch.BLOCK", 4096)
    with pytest.raises(InputError, match=f"holds more than the {len(TALE):,} bytes"):
        locate(declare(TALE), report=lambda what, done, total: written.append(done))
    assert max(written, default=0) <= len(TALE)
    assert leftovers(own_cache) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_an_archive_that_would_escape_is_refused(inn_data, own_cache, declare, leftovers, name, tmp_path):
    packed(inn_data, ".zip", member=name)
    before = sorted(tmp_path.rglob("*evil*"))
    with pytest.raises(InputError, match="points outside the archive"):
        locate(declare(TALE))
    assert sorted(tmp_path.rglob("*evil*")) == before == []
    assert leftovers(own_cache) == []


def test_too_short_a_file_is_refused(inn_data, declare):
    packed(inn_data, "", TALE[:-1])
    with pytest.raises(InputError, match=f"holds {len(TALE) - 1:,} bytes, not the {len(TALE):,}"):
        locate(declare(TALE))


def test_no_space_left_while_unpacking(inn_data, own_cache, declare, leftovers, full_disk):
    packed(inn_data, ".xz")
    full_disk(own_cache, 1000)
    with pytest.raises(InputError, match="no space left on the device"):
        locate(declare(TALE))
    assert leftovers(own_cache) == []


def test_an_inn_data_that_is_no_folder(monkeypatch, tmp_path, declare):
    monkeypatch.setenv("INN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"INN_DATA is .*nowhere', which is not a folder"):
        locate(declare(TALE))


class Server:
    """Answers `requests.get` for one address from memory; `serve` bytes a time, then the connection breaks."""

    def __init__(self, body: bytes, ranges: bool = True, serve: int | None = None, lie: int = 0, status: int = 0):
        self.body, self.ranges, self.serve, self.lie, self.status = body, ranges, serve, lie, status
        self.asked: list[dict[str, str]] = []

    def get(self, url, headers, stream, timeout):
        self.asked.append(headers)
        reply = requests.Response()
        reply.url = url
        start = 0
        if "Range" in headers and self.ranges:
            start = int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
        reply.status_code = self.status or (416 if start and start >= len(self.body) else 206 if start else 200)
        body = self.body[start:]
        reply.headers["Content-Length"] = str(len(body) + self.lie)

        def blocks(size):
            for at in range(0, len(body), 1000):
                if self.serve is not None and at >= self.serve:
                    raise requests.exceptions.ChunkedEncodingError("the line went dead")
                yield body[at : at + 1000]

        reply.iter_content = blocks  # type: ignore[method-assign]
        reply.close = lambda: None  # type: ignore[method-assign]
        return reply


@pytest.fixture
def serve(monkeypatch):
    def start(server: Server) -> Server:
        monkeypatch.setattr(requests, "get", server.get)
        return server

    return start


def test_a_download_is_checked_and_kept(own_cache, declare, serve):
    file = declare(TALE)
    told = []
    server = serve(Server(TALE))
    path = locate(file, report=lambda *what: told.append(what))
    assert path.read_bytes() == TALE
    assert told[0][0] == "downloading tale.txt"
    assert ("downloading tale.txt", len(TALE), len(TALE)) in told
    path.unlink()
    assert locate(file) == path  # from what was downloaded
    assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_broke(own_cache, declare, serve, ranges):
    source = declare(TALE).download
    serve(Server(TALE, serve=5000))
    with pytest.raises(
        InputError, match=r"cannot download https://example.invalid/tale.txt: the connection broke off .5,000 bytes"
    ):
        download(source)
    server = serve(Server(TALE, ranges=ranges))
    told = []
    assert download(source, lambda *what: told.append(what)).read_bytes() == TALE
    assert server.asked[0]["Range"] == "bytes=5000-"
    assert told[0][1] == (6000 if ranges else 1000)  # a server without ranges sends all of it again
    assert [p.name for p in (own_cache / "downloads").iterdir() if p.suffix == ".part"] == []


def test_a_download_that_was_whole_but_not_moved(own_cache, declare, serve):
    source = declare(TALE).download
    serve(Server(TALE, serve=0))
    with pytest.raises(InputError):
        download(source)
    (part,) = (own_cache / "downloads").glob("*.part")
    part.write_bytes(TALE)
    serve(Server(TALE))
    assert download(source).read_bytes() == TALE


def test_a_connection_that_ends_early_is_noticed(declare, serve):
    serve(Server(TALE, lie=10))
    with pytest.raises(InputError, match="the connection broke off"):
        download(declare(TALE).download)


def test_wrong_bytes_are_discarded(own_cache, declare, serve, leftovers):
    source = declare(TALE).download
    serve(Server(TALE[:-1] + b"?"))
    with pytest.raises(InputError, match=f"does not have the sha256 {source.sha256}"):
        download(source)
    assert leftovers(own_cache) == []
    serve(Server(TALE))
    assert download(source).read_bytes() == TALE


def test_a_server_that_does_not_stop_is_left(own_cache, declare, serve, leftovers):
    serve(Server(TALE * 3))
    with pytest.raises(InputError, match="more than"):
        download(declare(TALE).download)
    assert leftovers(own_cache) == []


def test_no_space_left_while_downloading(own_cache, declare, serve, leftovers, full_disk):
    serve(Server(TALE))
    full_disk(own_cache, 3000)
    with pytest.raises(InputError, match="no space left on the device"):
        download(declare(TALE).download)
    assert leftovers(own_cache) == []


def test_no_network_is_a_sentence_with_a_remedy(monkeypatch, declare):
    def refuse(*args, **kwargs):
        raise requests.ConnectionError("name resolution failed")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(InputError, match=r"no connection to example.invalid; try again, or put .*INN_DATA"):
        locate(declare(TALE))


def test_a_server_that_refuses_is_a_sentence(declare, serve):
    serve(Server(b"", status=404))
    with pytest.raises(InputError, match="the server answered 404"):
        locate(declare(TALE))
