from __future__ import annotations

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import requests

from inn.config.run import DataConfig
from inn.data.prepare import prepare
from inn.data.text import PARTS
from inn.system.errors import InputError

STORY = "The naïve cat sat on the mat.\nThe dog 🐕 sat on the cat .\n" * 40


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_bytes(STORY.encode())
    return path


def config(path, vocabulary: str = "characters") -> DataConfig:
    return DataConfig(corpus=f"file:{path}", vocabulary=vocabulary)  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [5, 1 << 20])
@pytest.mark.parametrize("vocabulary", ["bytes", "characters"])
def test_the_parts_spell_the_text(story, vocabulary, block, monkeypatch):
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    data = prepare(config(story, vocabulary))
    assert "".join(data.vocabulary.decode(data.split(part)) for part in PARTS) == STORY
    assert data.vocabulary.kind == vocabulary
    assert data.split_sizes == {part: len(data.split(part)) for part in PARTS}
    total = len(STORY.encode() if vocabulary == "bytes" else STORY)
    assert sum(data.split_sizes.values()) == total
    assert abs(len(data.train) - 0.9 * total) <= 4


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_words_come_from_the_training_part(tmp_path, block, monkeypatch):
    monkeypatch.setattr("inn.data.text.BLOCK", block)
    path = tmp_path / "words.txt"
    path.write_text("known words here\n" * 90 + "some new words\n" * 10)
    data = prepare(config(path, "words"))
    assert data.vocabulary.symbols() == ["<unk>", "<eos>", "here", "known", "words"]
    assert data.vocabulary.decode(data.train[:8]) == "known words here\nknown words here\n"
    assert data.vocabulary.decode(data.test[-4:]) == "<unk> <unk> words\n"
    assert sum(data.split_sizes.values()) == 400  # a cut inside a word would make one more


def test_the_alphabet_comes_from_all_parts(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a" * 98 + "éz")
    data = prepare(config(path))
    assert data.vocabulary.symbols() == "azé"
    assert data.vocabulary.decode(data.test)[-2:] == "éz"


@pytest.mark.parametrize(("distinct", "dtype"), [(200, "uint8"), (300, "uint16"), (70_000, "uint32")])
def test_symbols_are_mapped_in_the_smallest_type(tmp_path, distinct, dtype):
    path = tmp_path / "text.txt"
    path.write_text("".join(map(chr, range(0x10000, 0x10000 + distinct))))
    data = prepare(config(path))
    for part in PARTS:
        symbols = data.split(part)
        assert isinstance(symbols, np.memmap)
        assert symbols.dtype.name == dtype
        assert not symbols.flags.writeable


def test_prepared_once(story, own_cache, monkeypatch):
    first = prepare(config(story))
    # The package has a function of the module's name, so the module is asked for by that name.
    module = importlib.import_module("inn.data.prepare")
    monkeypatch.setattr(module, "_write", lambda *a: pytest.fail("prepared twice"))
    again = prepare(config(story))
    assert again.vocabulary == first.vocabulary
    assert again.sha256 == first.sha256
    for part in PARTS:
        assert np.array_equal(again.split(part), first.split(part))


def test_a_changed_text_is_prepared_anew(story):
    first = prepare(config(story))
    story.write_bytes(STORY.replace("cat", "cow").encode())
    second = prepare(config(story))
    assert second.sha256 != first.sha256
    assert "cow" in second.vocabulary.decode(second.train)
    assert "cat" in first.vocabulary.decode(first.train)  # what is mapped stays what it was


def test_a_known_corpus_needs_its_text_only_once(inn_data, declare, add_corpus, own_cache, monkeypatch):
    payload = STORY.encode()
    (inn_data / "tale.txt").write_bytes(payload)
    add_corpus("tale", declare(payload))
    first = prepare(DataConfig(corpus="tale"))
    (inn_data / "tale.txt").unlink()
    assert np.array_equal(prepare(DataConfig(corpus="tale")).train, first.train)
    assert (own_cache / "prepared").is_dir()

    def refuse(*args, **kwargs):
        raise requests.ConnectionError("no network here")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(InputError, match="cannot download"):
        prepare(DataConfig(corpus="tale", vocabulary="bytes"))


@pytest.mark.parametrize("harm", ["short", "missing", "no json", "bad json", "other json", "other sizes"])
def test_a_damaged_cache_is_prepared_again(story, own_cache, harm):
    first = prepare(config(story))
    expected = {part: first.split(part).tolist() for part in PARTS}
    (folder,) = (own_cache / "prepared").glob("file-*")
    about = folder / "dataset.json"
    if harm == "short":
        (folder / "train.bin").write_bytes(b"abc")
    elif harm == "missing":
        (folder / "valid.bin").unlink()
    elif harm == "no json":
        about.unlink()
    else:
        tree = json.loads(about.read_text())
        tree["sizes"]["train"] -= 1
        new = {"bad json": "{", "other json": "[1]", "other sizes": json.dumps(tree)}[harm]
        about.write_text(new)
    again = prepare(config(story))
    assert {part: again.split(part).tolist() for part in PARTS} == expected


@pytest.mark.parametrize("vocabulary", ["bytes", "characters", "words"])
def test_no_space_left_leaves_nothing(story, own_cache, leftovers, full_disk, vocabulary):
    full_disk(own_cache, 100)
    with pytest.raises(InputError, match=r"no space left on the device .*INN_CACHE"):
        prepare(config(story, vocabulary))
    assert leftovers(own_cache) == []


def test_undecodable_bytes_leave_nothing(tmp_path, own_cache, leftovers):
    path = tmp_path / "binary"
    path.write_bytes(bytes(range(256)) * 4)
    for vocabulary in ("characters", "words"):
        with pytest.raises(InputError, match=r"0x80 at offset 128 .*--data.vocabulary bytes"):
            prepare(config(path, vocabulary))
    assert leftovers(own_cache) == []
    assert prepare(config(path, "bytes")).split_sizes == {"train": 921, "valid": 51, "test": 52}


def test_tiny_texts(tmp_path):
    path = tmp_path / "tiny.txt"
    path.write_text("abc")
    data = prepare(config(path))
    assert data.split_sizes == {"train": 2, "valid": 0, "test": 1}
    assert data.vocabulary.decode(data.split("train")) == "ab"
    with pytest.raises(InputError, match=r"valid part of corpus 'file:.*' holds 0 symbols and needs at least 2"):
        data.split("valid")
    with pytest.raises(InputError, match="did you mean 'valid'"):
        data.split("validation")


def test_several_processes_prepare_one_corpus(story, own_cache, leftovers):
    code = (
        "import sys; from inn.config.run import DataConfig; from inn.data.prepare import prepare;"
        "print(sum(prepare(DataConfig(corpus='file:' + sys.argv[1])).split_sizes.values()))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(story)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [run.communicate(timeout=120)[0].strip() for run in runs] == [str(len(STORY))] * 3
    assert len(leftovers(own_cache)) == 4  # three parts and their description, once


def test_progress_is_told(story):
    told = []
    prepare(config(story), report=lambda *what: told.append(what))
    size = len(STORY.encode())
    assert told[-1] == (f"encoding file:{story}", size, size)


# What is published of these corpora: distinct symbols, and symbols in train, valid and test.
KNOWN = [
    ("ptb", "words", 10_000, (929_589, 73_760, 82_430)),
    ("ptb", "characters", 50, (5_101_618, 399_782, 449_945)),
    ("wikitext2", "words", 33_278, (2_088_628, 217_646, 245_569)),
    ("wikitext2", "characters", 283, (10_780_437, 1_120_192, 1_255_018)),
    ("text8-69m", "characters", 27, (64_000_000, 2_500_000, 2_500_000)),
    ("enwik8", "bytes", 256, (90_000_000, 5_000_000, 5_000_000)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "vocabulary", "distinct", "sizes"), KNOWN)
def test_the_real_corpora_have_their_published_sizes(real_data, name, vocabulary, distinct, sizes):
    real_data(name)
    data = prepare(DataConfig(corpus=name, vocabulary=vocabulary))
    assert data.vocabulary.size == distinct
    assert tuple(data.split_sizes.values()) == sizes
