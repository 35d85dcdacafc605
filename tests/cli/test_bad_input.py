"""Bad input gets one clear sentence and exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from inn.runs.directory import Run
from inn.system.errors import InputError


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train"], "RECIPE is missing"),
        (["train", "txt8"], "unknown recipe 'txt8'; did you mean 'text8'?"),
        (["train", "demo", "text8"], "unexpected argument 'text8'"),
        (["train", "demo", "--model.widht", "3"], "unknown field 'model.widht'; did you mean 'width'?"),
        (["train", "demo", "--widht", "3"], "unknown option '--widht'; did you mean '--model.width'?"),
        (["train", "demo", "--lr", "3"], "unknown option '--lr'; did you mean '--train.lr'?"),
        (["train", "demo", "--zzz", "3"], "unknown option '--zzz'; --help lists them"),
        (["train", "demo", "--model.router", "bsu"], "--model.router cannot be 'bsu'; did you mean 'bus'?"),
        (["train", "demo", "--model.kind", "lsmt"], "unknown model kind 'lsmt'; did you mean 'lstm'?"),
        (["train", "demo", "--train.lr", "fast"], "--train.lr expects a number, not 'fast'"),
        (["train", "demo", "--seed", "one"], "--train.seed expects a whole number, not 'one'"),
        (
            ["train", "demo", "--model.width", "30", "--model.router", "attention"],
            "width 30 is not divisible by heads 4",
        ),
        (["train", "demo", "--model.update", "parallel"], "update 'parallel' has no meaning with router 'dendrites'"),
        (["train", "demo", "--model.recall", "[0]"], "recall lists contexts of 1 to 64 symbols, not 0"),
        (["train", "demo", "--train.symbols", "-1"], "symbols must be at least 1, not -1"),
        (["train", "demo", "--train.keep", "-1"], "keep must be at least 1, not -1"),
        (["train", "demo", "--data.corpus", "txt8"], "unknown corpus 'txt8'; did you mean 'text8'?"),
        (["train", "demo", "--device", "gpu"], "device cannot be 'gpu'; choose auto, cpu"),
        (["train", "demo", "--dtype", "float16"], "--train.dtype cannot be 'float16'"),
        (["train", "demo", "--run"], "--run needs a value"),
        (["train", "--resume", "nowhere"], "'nowhere' is not a run"),
        (["train", "demo", "--resume", "nowhere"], "--resume goes on under the run's own settings"),
        (["train", "--resume", "nowhere", "--seed", "3"], "--resume goes on under the run's own settings"),
        (["stability", "x", "--seed", "-1"], "--seed must be between 0 and 2^63 - 1, not -1"),
        (["explain", "x", "--seed", str(2**63)], f"--seed must be between 0 and 2^63 - 1, not {2**63}"),
        (["explain", "x", "--symbols", str(2**63)], f"--symbols expects a whole number, not {2**63}"),
        (["generate", "x", "--temperature", ".nan"], "--temperature expects a number, not nan"),
        (["eval"], "RUN is missing"),
        (["eval", "nowhere"], "'nowhere' is not a run"),
        (["generate", "nowhere"], "'nowhere' is not a run"),
        (["analyze"], "RUN is missing"),
        (["analyze", "nowhere"], "'nowhere' is not a run"),
        (["analyze", "nowhere", "--corpus", "pydoc"], "'nowhere' is not a run"),
        (["info"], "RECIPE|RUN is missing"),
        (["info", "nowhere"], "unknown recipe 'nowhere'"),
        (["info", "demo", "--json=3"], "--json takes no value, but was given '3'"),
        (["data"], "ACTION is missing"),
        (["data", "lst"], "action cannot be 'lst'; did you mean 'list'?"),
        (["data", "list", "pydoc"], "inn data list takes no name"),
        (["data", "get"], "inn data get needs the name of a corpus"),
        (["data", "verify", "pydco"], "unknown corpus 'pydco'; did you mean 'pydoc'?"),
    ],
)
def test_mistakes_on_the_command_line(refused, argv, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(*argv).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--temperature", "0"], "temperature must be above 0"),
        (["--temperature", "-1"], "temperature must be above 0"),
        (["--temperature", "warm"], "--temperature expects a number, not 'warm'"),
        (["--top-p", "0"], "top-p must be in (0, 1]"),
        (["--top-p", "1.5"], "top-p must be in (0, 1]"),
        (["--top-p", "most"], "--top-p expects a number or null, not 'most'"),
        (["--top-k", "0"], "top-k must be at least 1"),
        (["--top-k", "-3"], "top-k must be at least 1"),
        (["--tokens", "-3"], "tokens must be at least 0"),
        (["--seed", "-3"], "--seed must be between 0 and 2^63 - 1, not -3"),
        (["--unknown", "skpi"], "--unknown cannot be 'skpi'; did you mean 'skip'?"),
        (["--dtype", "half"], "--dtype cannot be 'half'"),
        (["--prompt", "ü"], "the vocabulary of "),
    ],
)
def test_mistakes_in_sampling(refused, trained, options, sentence):
    assert refused("generate", trained, *options).startswith(sentence)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--split", "tset"], "--split cannot be 'tset'; did you mean 'test'?"),
        (["--streams", "0"], "--streams must be at least 1, not 0"),
        (["--limit", "1"], "--limit must be at least 2, not 1"),
        (["--limit", "-5"], "--limit must be at least 2, not -5"),
    ],
)
def test_mistakes_in_scoring(refused, trained, options, sentence):
    assert refused("eval", trained, *options).startswith(sentence)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is empty"),
        (b"too short", "needs at least 2; use a longer text"),
        (b"good text " * 500 + b"\xff\xfe" + b" good text" * 500, "is not UTF-8 text: byte 0xff at offset 5,000"),
    ],
)
def test_texts_that_cannot_be_learned_from(refused, small, tmp_path, content, sentence):
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_bytes(content)
    assert sentence in refused("train", "demo", "--run", run, "--data.corpus", f"file:{text}", *small)
    assert not run.exists()


def test_a_text_shorter_than_a_window(refused, small, tmp_path):
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("hello world " * 20)
    sentence = refused("train", "demo", "--run", run, "--data.corpus", f"file:{text}", *small, "--data.window", 256)
    assert "a window needs 257" in sentence
    assert not run.exists()


def test_a_run_directory_that_exists_is_left_alone(refused, own_run):
    before = sorted((p, p.stat().st_mtime_ns) for p in own_run.rglob("*"))
    sentence = refused("train", "demo", "--run", own_run)
    assert sentence.startswith(f"run directory '{own_run}' exists already")
    assert "--resume" in sentence
    assert sorted((p, p.stat().st_mtime_ns) for p in own_run.rglob("*")) == before


def test_a_missing_checkpoint(refused, own_run):
    shutil.rmtree(own_run / "checkpoints")
    (own_run / "checkpoints").mkdir()
    assert "has no checkpoint yet" in refused("eval", own_run)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint of anything"])
def test_a_truncated_or_foreign_checkpoint(refused, own_run, damage):
    for file in own_run.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(damage)
    assert "is damaged" in refused("generate", own_run)
    assert "no good checkpoint is left" in refused("train", "--resume", own_run)


def test_a_damaged_configuration(refused, own_run):
    (own_run / "config.yaml").write_text("model: [")
    for command in (["eval"], ["analyze"], ["generate"], ["info"], ["train", "--resume"]):
        assert str(own_run) in refused(*command, own_run)


def test_a_checksum_mismatch(refused, small, tmp_path, monkeypatch):
    (tmp_path / "ptb.train.txt").write_text("not the treebank")
    monkeypatch.setenv("INN_DATA", str(tmp_path))
    monkeypatch.setenv("INN_CACHE", str(tmp_path / "cache"))
    for part in ("valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text("nor this")
    sentence = refused("data", "verify", "ptb")
    assert "ptb.train.txt" in sentence
    run = tmp_path / "run"
    assert "ptb.train.txt" in refused("train", "ptb", "--run", run, *small)
    assert not run.exists()


def test_no_space_left_on_the_device(refused, small, corpus, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = tmp_path / "run"
    monkeypatch.setattr(os, "fsync", full)
    sentence = refused("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *small)
    assert sentence.startswith("no space left on the device")
    assert not run.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_the_middle_of_a_run_keeps_what_was_saved(inn, refused, small, corpus, tmp_path, monkeypatch):
    from inn.runs import checkpoint

    run, save = tmp_path / "run", checkpoint.save

    def full_after_step_4(folder, moment):
        if moment.step > 4:
            monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        return save(folder, moment)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full_after_step_4)
        result = inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *small)
        assert result.code == 2
        assert "no space left on the device" in result.err
    monkeypatch.undo()
    assert [p.name for p in run.glob("checkpoints/step-*")] == ["step-00000004"]
    assert inn("train", "--resume", run).code == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["look", "RUN", "--out", "OUT"],
        ["learn-on", "RUN", "pydoc", "--run", "OUT"],
        ["grow", "RUN", "--neurons", "1", "--run", "OUT"],
        ["cut", "RUN", "--neurons", "0", "--out", "OUT"],
        ["compress-text", "RUN", "pydoc", "OUT"],
        ["stability", "RUN", "--text", "pydoc", "--plot", "OUT.png"],
    ],
)
def test_what_cannot_be_written_is_refused_before_there_is_work(refused, own_run, argv):
    """The run lacks its checkpoints: whoever begins says that."""
    shutil.rmtree(own_run / "checkpoints")
    out = str(own_run / "config.yaml/new")
    sentence = refused(*(a.replace("RUN", str(own_run)).replace("OUT", out) for a in argv))
    assert sentence.startswith(f"cannot write '{out}"), sentence


def test_commands_to_go_on_with_can_be_pasted(capsys, tmp_path):
    from inn.cli.display import tell_what_next

    run = tmp_path / "two words"
    tell_what_next(str(run), {"status": "done", "floors": {}})
    assert f"inn eval '{run}'" in capsys.readouterr().out
    run.write_text("")
    with pytest.raises(InputError, match=f"inn train --resume '{run}'"):
        Run.check_free(run)


def test_a_folder_that_may_not_be_written(refused, small, corpus, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a folder")
    sentence = refused("train", "demo", "--run", blocked / "run", "--data.corpus", f"file:{corpus}", *small)
    assert str(blocked) in sentence
