"""Folders of shards: the symbols of the whole text, whoever encoded them and however often it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.config.run import DataConfig
from inn.data import shards
from inn.data.prepare import prepare
from inn.data.shards import DatasetTexts, Shards, open_shards, prepare_shards, stream_texts
from inn.data.streams import Streams
from inn.system.errors import InputError

PARTS = ("train", "valid", "test")


@pytest.fixture
def texts(tmp_path) -> Path:
    """A folder of five files, with characters of one to four bytes."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(5):
        words = [f"wörd{(i * k) % 11} 🐈{k % 3}" for k in range(60 + 40 * i)]
        (folder / f"{i}.txt").write_text(" ".join(words) + "\n", encoding="utf-8")
    return folder


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(-25, 25), st.integers(-25, 25))
def test_slices_are_those_of_one_array(sizes, start, stop):
    whole = np.arange(sum(sizes), dtype=np.uint16)
    cut = Shards(np.split(whole, np.cumsum(sizes)[:-1]))
    assert len(cut) == len(whole)
    for where in (slice(start, stop), slice(start, None), slice(None, stop)):
        assert cut[where].tolist() == whole[where].tolist()
        assert cut[where].dtype == whole.dtype
    assert np.array_equal(np.asarray(cut), whole)
    with pytest.raises(IndexError, match="steps of 2"):
        cut[::2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "characters", "words"])
def test_the_symbols_are_those_of_the_text_prepared_whole(tmp_path, texts, kind):
    folder = prepare_shards(f"file:{texts}", tmp_path / "shards", kind, workers=2, piece=700)
    whole = prepare(DataConfig(corpus=f"file:{texts}", vocabulary=kind))
    cut = prepare(DataConfig(corpus=f"shards:{folder}", vocabulary=kind))
    assert len(list(folder.glob("train-*.bin"))) > 5
    assert cut.vocabulary == whole.vocabulary
    assert cut.sha256 == whole.sha256
    for part in PARTS:
        assert np.array_equal(np.asarray(getattr(cut, part)), getattr(whole, part))
        assert np.array_equal(cut.split(part)[3:40], whole.split(part)[3:40])
    assert cut.split_sizes == whole.split_sizes
    # The folder alone is enough, wherever it is.
    folder.rename(tmp_path / "elsewhere")
    for file in texts.iterdir():
        file.unlink()
    assert prepare(DataConfig(corpus=f"shards:{tmp_path / 'elsewhere'}", vocabulary=kind)).sha256 == whole.sha256


KILLED = """
import os, signal, sys
from inn.data import shards
if __name__ == "__main__":
    class Pool:
        def __init__(self, *args): pass
        def __enter__(self): return self
        def __exit__(self, *args): pass
        def map(self, work, jobs):
            for number, job in enumerate(jobs):
                if work is shards._encode and number == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield work(job)
    shards.ProcessPoolExecutor = Pool
    shards.prepare_shards(sys.argv[1], sys.argv[2], "characters", piece=700)
"""


@pytest.mark.slow
def test_a_killed_preparation_goes_on(tmp_path, texts, monkeypatch):
    script, folder = tmp_path / "killed.py", tmp_path / "shards"
    script.write_text(KILLED)
    command = [sys.executable, str(script), f"file:{texts}", str(folder)]
    killed = subprocess.run(command, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in folder.glob("*.bin")}
    assert len(done) == 4
    with pytest.raises(InputError, match="not finished; start their preparation again"):
        open_shards(folder)
    (folder / "train-00002.bin").unlink()  # as if the disk had lost one
    time.sleep(0.01)
    told = []
    prepare_shards(f"file:{texts}", folder, "characters", piece=700, report=lambda what, at, of: told.append((at, of)))
    again = {path: path.stat().st_mtime_ns for path in done}
    assert [path.name for path in done if done[path] != again[path]] == ["train-00002.bin"]
    assert told[-1][0] == told[-1][1]
    whole = prepare(DataConfig(corpus=f"file:{texts}"))
    parts, vocabulary, _ = open_shards(folder)
    assert vocabulary == whole.vocabulary
    assert all(np.array_equal(np.asarray(parts[part]), getattr(whole, part)) for part in PARTS)


@pytest.fixture
def prepared(tmp_path, texts, monkeypatch) -> Path:
    """A folder of shards of bytes, encoded in this process."""

    class Here:
        def __init__(self, *args): ...
        def __enter__(self):
            return self

        def __exit__(self, *args): ...
        def map(self, work, jobs):
            return map(work, jobs)

    monkeypatch.setattr(shards, "ProcessPoolExecutor", Here)
    return prepare_shards(f"file:{texts}", tmp_path / "shards", "bytes", piece=700)


def test_what_is_wrong_with_a_folder_is_named(tmp_path, texts, prepared):
    corpus = f"shards:{prepared}"
    with pytest.raises(InputError, match=r"hold bytes, not characters; set --data\.vocabulary bytes"):
        prepare(DataConfig(corpus=corpus))
    with pytest.raises(InputError, match=r"another preparation .vocabulary bytes, not words"):
        prepare_shards(f"file:{texts}", prepared, "words", piece=700)
    with pytest.raises(InputError, match="is not empty"):
        prepare_shards(f"file:{texts}", texts, "bytes")
    with pytest.raises(InputError, match="workers must be at least 1"):
        prepare_shards(f"file:{texts}", tmp_path / "new", "bytes", workers=0)
    with pytest.raises(InputError, match="no such file or folder"):
        prepare(DataConfig(corpus=f"shards:{tmp_path / 'nowhere'}", vocabulary="bytes"))
    piece = prepared / "train-00001.bin"
    piece.write_bytes(piece.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"train-00001\.bin is damaged"):
        prepare(DataConfig(corpus=corpus, vocabulary="bytes"))
    about = json.loads((prepared / "dataset.json").read_text())
    del about["sizes"]
    (prepared / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="is not what `inn data prepare` writes"):
        open_shards(prepared)


def test_streams_over_shards_are_those_over_one_array(prepared):
    parts, _, _ = open_shards(prepared)
    assert isinstance(parts["train"], Shards)
    for order in ("contiguous", "shuffled", "random"):
        a = Streams(parts["train"], 3, 20, order, seed=1)
        b = Streams(np.asarray(parts["train"]), 3, 20, order, seed=1)
        for _ in range(200):
            x, y = a.next(), b.next()
            assert x.inputs.tolist() == y.inputs.tolist()
            assert x.targets.tolist() == y.targets.tolist()


class Stories:
    """A stream of documents that counts what is asked of it."""

    def __init__(self, fails_at: int | None = None):
        self.fails_at, self.read = fails_at, 0

    def __iter__(self):
        for i in range(25):
            if i == self.fails_at:
                raise KeyboardInterrupt
            self.read += 1
            yield f"story {i}\n\n"


def test_a_stream_becomes_text_files_and_goes_on(tmp_path):
    whole = stream_texts(Stories(), tmp_path / "whole", piece=60)
    with pytest.raises(KeyboardInterrupt):
        stream_texts(Stories(13), tmp_path / "cut", piece=60)
    kept = sorted(p.name for p in (tmp_path / "cut").iterdir())
    assert kept == ["00000-8.txt"]
    stream_texts(Stories(), tmp_path / "cut", piece=60)

    def read(folder):
        return {p.name: p.read_text() for p in folder.iterdir()}

    assert read(tmp_path / "cut") == read(whole)
    assert "".join(dict(sorted(read(whole).items())).values()) == "".join(f"story {i}\n" for i in range(25))
    with pytest.raises(InputError, match="empty"):
        stream_texts([], tmp_path / "none")


def test_a_dataset_is_streamed(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": [f"line {i}" for i in range(9)], "id": list(range(9))})
    rows.save_to_disk(str(tmp_path / "saved"))
    texts = DatasetTexts(str(tmp_path / "saved"))
    folder = stream_texts(texts, tmp_path / "texts", piece=20)
    assert len(list(folder.iterdir())) == 3
    assert list(texts.skip(7)) == ["line 7", "line 8"]
    assert "".join(p.read_text() for p in sorted(folder.iterdir())) == "".join(f"line {i}\n" for i in range(9))
    with pytest.raises(InputError, match="no column 'words'; it has text, id"):
        list(DatasetTexts(str(tmp_path / "saved"), column="words"))


def test_without_the_library_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"inn-torch\[data\]"):
        DatasetTexts("wikitext")


@pytest.mark.slow
def test_the_command(tmp_path, texts, capsys):
    from inn.cli.main import main

    to = ["--to", str(tmp_path / "shards"), "--vocabulary", "bytes"]
    assert main(["data", "prepare", f"file:{texts}", *to, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["symbols"]["train"] > 10 * facts["symbols"]["test"] > 0
    assert main(["data", "prepare", f"file:{texts}", *to]) == 0  # nothing is left to do
    assert f"--data.corpus shards:{tmp_path / 'shards'}" in capsys.readouterr().out
    assert main(["data", "prepare", f"file:{texts}"]) == 2
    assert "which needs it" in capsys.readouterr().err
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a line of text"] * 50}).save_to_disk(str(tmp_path / "saved"))
    capsys.readouterr()
    assert main(["data", "prepare", f"datasets:{tmp_path / 'saved'}", "--to", str(tmp_path / "more"), "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["symbols"].values()) == 50 * len("a line of text\n")


@pytest.mark.slow
def test_training_reads_shards(tmp_path, prepared):
    """A shuffled run over shards, stopped and resumed, is the run that was not."""
    from inn.config.assemble import model_config
    from inn.config.run import RunConfig, TrainConfig
    from inn.runs import checkpoint
    from inn.training.trainer import fit

    def config(symbols: int) -> RunConfig:
        data = DataConfig(corpus=f"shards:{prepared}", vocabulary="bytes", batch=2, window=8, order="shuffled")
        settings = TrainConfig(symbols=symbols, threads=1, eval_symbols=50, sample_every=0, checkpoint_every=20)
        return RunConfig(model_config("inn", neurons=2, width=8, rounds=1, slots=64), data, settings)

    def stop(event) -> None:
        if event.step == 20:
            signal.raise_signal(signal.SIGTERM)

    fit(config(16 * 40), tmp_path / "whole")
    assert fit(config(16 * 40), tmp_path / "run", report=stop)["step"] == 20
    fit(None, tmp_path / "run", resume=True)
    whole, again = (checkpoint.load(tmp_path / name / "checkpoints" / "step-00000040") for name in ("whole", "run"))
    assert whole.meta["streams"] == again.meta["streams"]
    for part, tensors in whole.tensors.items():
        assert all(np.array_equal(t, again.tensors[part][name]) for name, t in tensors.items())
