from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.data.catalogue import get, list_corpora, verify
from inn.data.corpora import corpus_text, find_corpus
from inn.data.table import CORPORA
from inn.data.text import PARTS, CorpusText, Segment, split_text
from inn.system.errors import InputError

NAMES = ["pydoc", "text8", "text8-69m", "enwik8", "wikitext2", "wikitext2-raw", "ptb", "tinyshakespeare"]


def test_the_table_is_complete_and_consistent():
    assert list(CORPORA) == NAMES
    for corpus in CORPORA.values():
        assert corpus.description
        assert corpus.source
        assert corpus.licence
        assert len(corpus.files) in (0, 1, 3)
        assert corpus.split is None or sum(corpus.split) == corpus.size
        for file in corpus.files:
            assert len(file.sha256) == len(file.download.sha256) == 64
            assert file.download.url.startswith("https://")
            assert file.prefix or file.member or (file.download.sha256, file.download.most) == (file.sha256, file.size)


def test_rows_are_plain_and_say_where(inn_data):
    (inn_data / "ptb.train.txt.xz").touch()
    rows = {row["name"]: row for row in list_corpora()}
    assert list(rows) == NAMES
    assert rows["pydoc"]["where"] == "interpreter"
    assert rows["ptb"]["where"] == "download"  # two of its three files are missing
    assert rows["text8-69m"]["bytes"] == 69_000_000
    assert rows["text8-69m"]["splits"]["valid"] == "bytes 64,000,000 to 66,500,000"
    for part in ("valid", "test"):
        (inn_data / f"ptb.{part}.txt").touch()
    assert {row["name"]: row["where"] for row in list_corpora()}["ptb"] == "INN_DATA"


def test_an_unknown_corpus_names_the_nearest(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown corpus 'txt8'; did you mean 'text8'"):
        find_corpus("txt8")
    with pytest.raises(InputError, match=r"unknown corpus ''; known: .*file:PATH"):
        find_corpus("")
    with pytest.raises(InputError, match="unknown corpus"):
        find_corpus("a\0b")
    with pytest.raises(InputError, match="unknown corpus"):
        find_corpus("a" * 5000)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"so write 'file:.*mine.txt'"):
        find_corpus(str(tmp_path / "mine.txt"))
    with pytest.raises(InputError, match="names no path"):
        find_corpus("file:")


def test_pydoc_is_the_interpreters_own():
    from pydoc_data.topics import topics

    text = corpus_text("pydoc")
    whole = b"".join(text.read(part) for part in PARTS)
    assert whole.decode() == "".join(topics[k] for k in sorted(topics))
    assert text.sha256 == hashlib.sha256(whole).hexdigest()
    assert [text.size(part) for part in PARTS] == [len(text.read(part)) for part in PARTS]
    assert len(whole) > 300_000


def test_a_file_is_cut_90_5_5(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(bytes(range(200)))
    text = corpus_text(f"file:{path}")
    assert [text.read(part) for part in PARTS] == [bytes(range(180)), bytes(range(180, 190)), bytes(range(190, 200))]
    assert text.sha256 == hashlib.sha256(bytes(range(200))).hexdigest()


def test_a_folder_and_a_glob_are_read_in_order(tmp_path):
    for name, content in {"b.txt": "B", "a.txt": "A", "sub/c.txt": "C", ".hidden": "H", ".git/x.txt": "G"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content * 10)

    def whole(name: str) -> bytes:
        return b"".join(corpus_text(name).read(part) for part in PARTS)

    assert whole(f"file:{tmp_path}") == b"A" * 10 + b"B" * 10 + b"C" * 10
    assert whole(f"file:{tmp_path}/*.txt") == b"A" * 10 + b"B" * 10
    assert whole(f"file:{tmp_path}/**/*.txt") == b"A" * 10 + b"B" * 10 + b"C" * 10
    assert whole(f"file:{tmp_path}/[b].txt") == b"B" * 10


def test_a_path_with_the_letters_of_a_glob_is_itself(tmp_path):
    (tmp_path / "[a].txt").write_text("itself")
    assert corpus_text(f"file:{tmp_path}/[a].txt").read("train") == b"itsel"


@pytest.mark.parametrize("name", ["none.txt", "*.none", "folder"])
def test_what_is_not_there_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"no file, folder or glob match at|holds no files") as error:
        corpus_text(f"file:{tmp_path / name}")
    assert name in str(error.value)


def test_an_empty_corpus(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputError, match=r"corpus 'file:.*empty.txt' is empty"):
        corpus_text(f"file:{tmp_path / 'empty.txt'}")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    opened = Path.open

    def refuse(self, *args, **kwargs):  # whoever runs the tests may be allowed to read everything
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*secret.txt: permission denied"):
        corpus_text(f"file:{path}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    (tmp_path / "open.txt").write_text("open")
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(InputError, match="permission denied"):
        corpus_text(f"file:{tmp_path}")


def test_bytes_that_are_not_text_are_named(tmp_path):
    path = tmp_path / "mixed.bin"
    path.write_bytes("é".encode() * 500 + b"ab\xffcd" + b"x" * 1000)
    text = corpus_text(f"file:{path}", "characters")
    with pytest.raises(
        InputError, match=r"mixed.bin is not UTF-8 text: byte 0xff at offset 1,002 .*--data.vocabulary bytes"
    ):
        list(text.text_blocks("train"))
    path.write_bytes(b"plain " * 100 + "é".encode()[:1])
    text = corpus_text(f"file:{path}", "characters")
    with pytest.raises(InputError, match=r"byte 0xc3 at offset 600"):
        list(text.text_blocks("test"))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_blocks_change_nothing(tmp_path, monkeypatch, block):
    path = tmp_path / "mine.txt"
    written = "naïve 🐘 words\n\n  and  more of them\ttabs " * 5
    path.write_bytes(written.encode())
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    text = CorpusText("x", "", {"train": (Segment(path, 0, path.stat().st_size),)})
    assert "".join(text.text_blocks("train")) == written
    pieces = list(text.text_blocks("train", whole_words=True))
    assert "".join(pieces) == written
    assert [word for piece in pieces for word in piece.split()] == written.split()
    bad = CorpusText("x", "", {"train": (Segment(b"abc" + "é".encode() + b"\xe9t", 1, 7),)})
    with pytest.raises(InputError, match="0xe9 at offset 5"):
        list(bad.text_blocks("train"))


@given(
    st.lists(st.text(" \nabé🐘", max_size=12), min_size=1, max_size=4),
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted),
    st.sampled_from(["bytes", "characters", "words"]),
)
def test_cuts_lose_nothing_and_fall_between_symbols(texts, ends, vocabulary):
    files = [t.encode() for t in texts]
    whole = b"".join(files)
    ends = [min(e, len(whole)) for e in ends]
    parts = split_text([Segment(f, 0, len(f)) for f in files], ends, vocabulary)
    read = [b"".join(b for s in part for b in s.blocks()) for part in parts]
    assert len(read) == 3
    assert b"".join(read) == whole
    places = [len(read[0]), len(read[0]) + len(read[1])]
    borders = {sum(map(len, files[:i])) for i in range(len(files) + 1)}
    for place, end in zip(places, ends):
        assert place <= end
        if vocabulary == "bytes":
            assert place == end
        if vocabulary == "characters":
            assert end - place <= 3
            whole[:place].decode()
        if vocabulary == "words" and place not in borders:
            assert whole[place - 1 : place].isspace() or whole[place : place + 1].isspace()


def test_a_split_by_the_table(inn_data, declare, add_corpus):
    payload = b"0123456789" * 10
    (inn_data / "tale.txt").write_bytes(payload)
    corpus = add_corpus("tale", declare(payload), split=(70, 20, 10))
    text = corpus_text("tale")
    assert [text.size(part) for part in PARTS] == [70, 20, 10]
    assert text.sha256 == corpus.sha256 == hashlib.sha256(payload).hexdigest()
    assert corpus.splits == {"train": "bytes 0 to 70", "valid": "bytes 70 to 90", "test": "bytes 90 to 100"}


def test_a_split_by_files(inn_data, declare, add_corpus):
    payloads = [b"train" * 5, b"valid" * 3, b"test"]
    for part, payload in zip(PARTS, payloads):
        (inn_data / f"tale.{part}").write_bytes(payload)
    corpus = add_corpus("tale", *(declare(payload, f"tale.{part}") for part, payload in zip(PARTS, payloads)))
    text = corpus_text("tale")
    assert [text.read(part) for part in PARTS] == payloads
    digests = "".join(hashlib.sha256(payload).hexdigest() + "\n" for payload in payloads)
    assert text.sha256 == corpus.sha256 == hashlib.sha256(digests.encode()).hexdigest()


def test_get_says_what_and_where(inn_data, declare, add_corpus, tmp_path):
    payload = b"0123456789" * 10
    (inn_data / "tale.txt").write_bytes(payload)
    add_corpus("tale", declare(payload), split=(70, 20, 10))
    got = get("tale")
    assert got == {
        "name": "tale",
        "sha256": hashlib.sha256(payload).hexdigest(),
        "bytes": 100,
        "parts": {"train": 70, "valid": 20, "test": 10},
        "files": [{"name": "tale.txt", "path": str(inn_data / "tale.txt")}],
    }
    assert get("pydoc")["files"] == []
    assert get(f"file:{inn_data}")["files"] == got["files"]


def test_verify_reports_and_does_not_raise(inn_data, declare, add_corpus, own_cache, leftovers):
    payload = b"0123456789" * 10
    add_corpus("tale", declare(payload))
    (absent,) = verify("tale")
    assert (absent.ok, absent.path, absent.found) == (False, None, None)
    assert "inn data get tale" in absent.note
    (inn_data / "tale.txt").write_bytes(payload)
    (good,) = verify("tale")
    assert (good.ok, good.note, good.found) == (True, "", good.expected)
    (inn_data / "tale.txt").write_bytes(payload[:-1] + b"?")
    (wrong,) = verify("tale")
    assert not wrong.ok
    assert wrong.found is not None
    assert "sha256 differs" in wrong.note
    (inn_data / "tale.txt").rename(inn_data / "tale.txt.xz")
    (damaged,) = verify("tale")
    assert (damaged.ok, damaged.found) == (False, None)
    assert "damaged" in damaged.note
    assert leftovers(own_cache) == []
    with pytest.raises(InputError, match="unknown corpus"):
        verify("tail")
    (own,) = verify(f"file:{inn_data}")
    assert own.ok
    assert own.expected is None
    assert own.found == corpus_text(f"file:{inn_data}").sha256


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ptb", "wikitext2", "text8-69m", "enwik8"])
def test_the_real_files_are_what_the_table_says(name, real_data):
    real_data(CORPORA[name].files[0].name)
    assert [v for v in verify(name) if not v.ok] == []
