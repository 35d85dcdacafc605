"""Command lines that nobody would write, made from the parsers' own tables: refused in a sentence, or done."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from inn.cli.commands import COMMANDS, GROUPS
from inn.config.parser import OptionParser
from inn.system.errors import InputError

LINES = 240
SEED = int(os.environ.get("INN_FUZZ_SEED", "19"))
VALUES = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1e400",
        "9" * 30,
        "-" + "9" * 30,
        "1.5",
        "null",
        "true",
        "[]",
        "{}",
        "[1,",
        "x",
    ),
    *("ü\u202e\U0001f9e0", "a b\tc\nd", "'", '"', "%s", "../..", "/dev/null", "~", "x" * 5000, "[" * 5000, "- " * 5000),
    *(
        "\x1b[31m",
        "file:",
        "hf://",
        "shards:",
        "{a: &b [1], c: *b}",
        "!!python/name:os.system",
        "--",
        "=",
        "\ud800",
        "",
    ),
)
HEAVY = "analyze look stability compress upcycle play score export sweep demo push serve".split()
"""Commands that take long, or do not end, or go on the network, where nothing is wrong: one of the inputs always is."""
LAST = {
    "generate": ["--tokens", "2"],
    "eval": ["--limit", "40"],
    "push": ["--dry-run"],
    "train": [
        *("--model.neurons", "2", "--model.width", "8", "--model.rounds", "1", "--data.batch", "2"),
        *("--data.window", "8", "--train.symbols", "32", "--train.sample_every", "0", "--train.eval_symbols", "32"),
    ],
}
"""What is said last, so that what does run is over soon."""


class _Table(Exception):
    """A command's parser, in the place of what it would parse."""


@pytest.fixture(scope="module")
def tables() -> dict[str, OptionParser]:
    """The parser of every command."""
    found = {}

    def stop(parser: OptionParser, argv: Any) -> None:
        raise _Table(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptionParser, "parse", stop)
        for name in (name for group in GROUPS.values() for name in group):
            with pytest.raises(_Table) as caught:
                COMMANDS[name].main([])
            found[name] = caught.value.args[0]
    return found


@pytest.fixture(scope="module")
def inputs(kept_run, kept_folder, text_file, tmp_path_factory) -> dict[str, list[str]]:
    """Files and folders of every sort: `good` ones, and `bad` ones."""
    home = tmp_path_factory.mktemp("inputs")
    bad: dict[str, Path] = {name: home / name for name in ("missing", "empty", "file", "folder", "fifo", "deep.json")}
    bad["empty"].mkdir()
    bad["file"].write_bytes(bytes(range(256)))
    bad["folder"].mkdir()
    (bad["folder"] / "something").write_text("else")
    os.mkfifo(bad["fifo"])
    bad["deep.json"].write_text("[" * 10_000)
    harms = {
        "config.yaml": b"model: [", "vocabulary.json": b"[" * 10_000, "checkpoints/best.json": b"\xff",
        "summary.json": b"[]", "experience.safetensors": bytes(64), "config.json": b'{"model_type": "inn", "inn": 5}',
        "model.safetensors": bytes(100), "tokenizer.json": b"{}", "checksums.json": b"null",
    }  # fmt: skip
    for name, content in harms.items():
        source = kept_run if (kept_run / name).exists() else kept_folder
        bad[f"harmed-{Path(name).name}"] = Path(shutil.copytree(source, home / f"harmed-{Path(name).name}"))
        (home / f"harmed-{Path(name).name}" / name).write_bytes(content)
    for name, content in {"bad.yaml": "a: [", "odd.yaml": "model: {width: [1]}", "nul.yaml": "\0"}.items():
        bad[name] = home / name
        bad[name].write_text(content)
    gz = bad["text.gz"] = home / "text.gz"
    gz.write_bytes(b"\x1f\x8b\x08" + bytes(50))
    return {"good": [str(kept_run), str(kept_folder), str(text_file), "demo"], "bad": list(map(str, bad.values()))}


def line_of(
    draw: random.Random, command: str, table: OptionParser, inputs: dict[str, list[str]], out: Path
) -> list[str]:
    """One command line; of a heavy command with at least one input that cannot be."""

    def value(option: str) -> str:
        kinds = [VALUES, inputs["bad"], inputs["good"], [str(out / "new"), f"file:{draw.choice(inputs['bad'])}"]]
        return draw.choice(draw.choice(kinds[:2] if option == "--tokens" else kinds))

    argv, count = [], len(table._shown)
    wrong = draw.randrange(count) if command in HEAVY and count else -1
    for i, name in enumerate(table._shown):
        new = i > 0 and name in ("out", "dir", "run")
        good = str(out / "new") if new else draw.choice(inputs["good"])
        bad = draw.choice(inputs["bad"] if i == 0 else [*inputs["bad"], *VALUES])
        if i == wrong or (command in HEAVY and i == 0):
            argv.append(bad)
        elif draw.random() < 0.85:
            argv.append(good if draw.random() < 0.6 else bad)
    options = [name for name in table._types if name not in ("--follow", "--storage")]
    for name in draw.sample(options, min(len(options), draw.randrange(4))):
        argv += [name] if table._types[name] is None else [f"{name}={value(name)}"]
    if command == "demo":
        argv = [f"--run={draw.choice(['', *inputs['bad'][1:]])}", *argv]
    return [command, *argv, *LAST.get(command, [])]


def unserved(*_: Any) -> None:
    raise InputError("no page is served while tests run")


def seen(folder: Path) -> dict[str, int]:
    """All there is in a folder, but for locks: name -> bytes."""
    return {
        str(p.relative_to(folder)): p.lstat().st_size if not p.is_dir() else -1
        for p in folder.rglob("*")
        if not p.name.endswith(".lock")
    }


@pytest.mark.slow
def test_no_command_line_ends_in_a_traceback_or_leaves_half_of_anything(
    call, tables, inputs, tmp_path, monkeypatch, kept_run, kept_folder
):
    draw, done = random.Random(SEED), {0: 0, 2: 0}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inn.explorer.play.LocalServer", unserved)
    monkeypatch.setattr("inn.server.serving.Server", unserved)
    watched = [tmp_path, kept_run, kept_folder, Path(inputs["bad"][0]).parent]
    names = list(tables)
    faults = []
    for number in range(LINES):
        command = names[number % len(names)]
        argv = line_of(draw, command, tables[command], inputs, tmp_path)
        before = [seen(folder) for folder in watched]
        try:
            answer = call(*argv)
            said = answer.err.removeprefix("inn: ").rstrip("\n")
            if answer.code not in done:
                faults.append((argv, f"code {answer.code}"))
            elif answer.code == 2:
                if not answer.err.startswith("inn: ") or "\n" in said or len(said) > 300 or "Traceback" in said:
                    faults.append((argv, answer.err[-400:]))
                if [seen(folder) for folder in watched] != before:
                    faults.append((argv, "something is left behind"))
            done[answer.code] = done.get(answer.code, 0) + 1
        except BaseException as error:
            faults.append((argv, f"{type(error).__name__}: {error}"[:300]))
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    assert not faults, json.dumps([([a[:80] for a in argv], why) for argv, why in faults[:20]], indent=1)
    assert done[0] >= 7, done  # what can be done is done
    assert done[2] >= 145, done
