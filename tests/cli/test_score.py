"""`inn score`: every line as it arrives, in three formats, from files and pipes."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LINES = "the graph of neurons\nlistens to each neuron\n\nspeaks\n"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(LINES)
    return path


@pytest.fixture
def piped(monkeypatch):
    """`piped(b"...")` is what `inn` finds on its stdin."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


def rows(inn, trained, *argv) -> list[dict]:
    result = inn("score", trained, *argv, "--format", "jsonl")
    assert result.code == 0, result
    return [json.loads(line) for line in result.out.splitlines()]


def test_the_sum_over_a_corpus_is_what_inn_eval_finds(inn, trained, corpus, tmp_path):
    facts = json.loads(inn("eval", trained, "--split", "test", "--json").out)
    data = corpus.read_bytes()
    test = data[-(facts["count"] + 1) :]  # the end of the text, after train and valid
    (tmp_path / "test.txt").write_bytes(test)
    found = rows(inn, trained, tmp_path / "test.txt")
    assert sum(row["symbols"] for row in found) == facts["count"]
    assert sum(row["bits"] for row in found) == pytest.approx(facts["bits"] * facts["count"], rel=1e-6)


def test_formats_say_the_same(inn, trained, text):
    found = rows(inn, trained, text)
    table = list(csv.DictReader(io.StringIO(inn("score", trained, text, "--format", "csv").out)))
    assert [row["text"] for row in table] == [row["text"] for row in found] == LINES.split("\n")[:-1]
    for a, b in zip(table, found):
        assert {key: a[key] == "True" if key in ("whole", "flagged") else type(b[key])(a[key]) for key in a} == b
    plain = inn("score", trained, text)
    assert [line[17:] for line in plain.out.splitlines()] == LINES.split("\n")[:-1]
    assert [float(line[:7]) for line in plain.out.splitlines()] == [round(row["bits_per_symbol"], 3) for row in found]
    assert "4 lines, " in plain.err


def test_colours_of_a_terminal_change_nothing_else(inn, trained, text, monkeypatch):
    from rich.console import Console
    from rich.text import Text

    plain = inn("score", trained, text)
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    coloured = inn("score", trained, text)
    assert "\x1b[" in coloured.out
    assert Text.from_ansi(coloured.out).plain.splitlines() == plain.out.splitlines()


def test_a_text_can_do_nothing_to_a_terminal(inn, trained, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\x1b[2J[bold]graph[/bold]\x07\n")
    out = inn("score", trained, tmp_path / "bad.txt").out
    assert "\\x1b[2J[bold]graph[/bold]\\x07" in out
    assert "\x1b" not in out


def test_pipes_are_read_like_files(inn, trained, text, piped):
    expected = rows(inn, trained, text)
    for argv in ([], ["-"]):
        piped(LINES.encode())
        assert [{**row, "file": str(text)} for row in rows(inn, trained, *argv)] == expected


def test_several_files_are_texts_of_their_own(inn, trained, text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(LINES)
    both = rows(inn, trained, text, other)
    assert [{**row, "file": str(text)} for row in both[4:]] == both[:4]
    assert f"==> {other} <==" in inn("score", trained, text, other).out


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\r\n\r\n", b"\xff\xfe\x00", b"no end", "ünknown ☃\n".encode(), b"a\x00b\n"]
)
def test_any_input_is_scored(inn, trained, piped, data):
    for form in ("text", "csv", "jsonl"):
        piped(data)
        result = inn("score", trained, "--format", form)
        assert result.code == 0
        assert len(result.out.splitlines()) == data.count(b"\n") + (data[-1:] not in (b"", b"\n")) + (form == "csv")


def test_thresholds_set_the_exit_code(inn, trained, text):
    found = rows(inn, trained, text)
    dearest = max(row["bits_per_symbol"] for row in found)
    whole = sum(row["bits"] for row in found) / sum(row["symbols"] for row in found)
    for of, value in (("line", dearest), ("text", whole), ("surprise", 0.0)):
        assert inn("score", trained, text, "--of", of, f"--threshold={value + 1e-5}").code == 0
        assert inn("score", trained, text, "--of", of, f"--threshold={value - 1e-5}").code == 1
    assert inn("score", trained, text).code == 0


@pytest.mark.parametrize(
    "argv, sentence",
    [
        ([], "RUN is missing"),
        (["nowhere"], "'nowhere' is not a run"),
        (["RUN", "nowhere.txt"], "cannot read nowhere.txt: there is no such file"),
        (["RUN", "."], "cannot read .: Is a directory"),
        (["RUN", "-", "a.txt", "-"], "- is given twice, and a pipe is read once"),
        (["RUN", "--format", "jsnl"], "--format cannot be 'jsnl'; did you mean 'jsonl'?"),
        (["RUN", "--of", "lines"], "--of cannot be 'lines'; did you mean 'line'?"),
        (["RUN", "--threshold", "nan"], "--threshold expects a number or null, not 'nan'"),
        (["RUN", "--threshold", "high"], "--threshold expects a number or null, not 'high'"),
        (["RUN", "--unknown", "cuont"], "--unknown cannot be 'cuont'; did you mean 'count'?"),
        (["RUN", "--key", "["], "key '[' is no regular expression: unterminated character set"),
        (["RUN", "--key", "a", "--keys", "0"], "keys must be at least 1, not 0"),
        (["RUN", "--key", "a", "--keys", "few"], "--keys expects a whole number or null, not 'few'"),
        (["RUN", "--keys", "5"], "--keys limits the states of --key REGEX"),
    ],
)
def test_mistakes_are_one_sentence(refused, trained, argv, sentence):
    assert refused("score", *(str(trained) if a == "RUN" else a for a in argv)).startswith(sentence)


def test_what_the_run_does_not_know_can_be_an_error(inn, trained, tmp_path):
    (tmp_path / "odd.txt").write_text("the graph\nÜber\n")
    result = inn("score", trained, tmp_path / "odd.txt", "--unknown", "error")
    assert result.code == 2
    assert result.err.startswith("inn: line 2: ")
    assert "'Ü' (U+00DC)" in result.err


def start(trained, *argv: str, out: int = subprocess.PIPE) -> subprocess.Popen:
    command = "import sys; from inn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", command, "score", str(trained), *argv],
        stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip


def pour(pipe) -> None:
    while True:
        pipe.write(b"of neurons\n" * 1000)


@pytest.mark.slow
def test_a_line_of_a_live_pipe_comes_while_the_pipe_is_open(trained):
    with start(trained, "--format", "jsonl") as process:
        for number, line in enumerate(["the graph\n", "of neu", "rons\nlistens\nto", "\n"]):
            process.stdin.write(line.encode())
            if number == 1:
                time.sleep(0.2)  # half a line: nothing comes, and the next line read is the second
                continue
            for _ in range(line.count("\n")):
                assert json.loads(process.stdout.readline())["text"]
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_quietly(trained):
    with start(trained) as process:
        process.stdin.write(b"the graph\n")
        process.stdout.readline()
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            pour(process.stdin)
        assert process.stderr.read() == b""
        process.stdin = None
        assert process.wait(timeout=60) == 141


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT between processes")
def test_an_interrupt_ends_an_endless_pipe(trained):
    with start(trained) as process:
        process.stdin.write(b"the graph\n")
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read().strip().endswith(b"inn: interrupted")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_stream_nor_with_a_line(trained):
    def resident(process) -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    for block in (b"the graph of neurons listens\n" * 40, b"the graph of neurons listens " * 40):
        with start(trained, "--format", "jsonl", out=subprocess.DEVNULL) as process:
            seen = []
            for _ in range(10):
                process.stdin.write(block * 30)  # returns when all but what the pipe holds has been taken
                seen.append(resident(process))
            process.kill()
        assert seen[-1] - seen[6] < 4e6, seen  # warm by then, on a loaded machine too


def test_only_flagged_and_top_lines(inn, trained, tmp_path):
    lines = ["the graph of neurons listens"] * 60 + ["zzzzqqqq xxxx"] + ["the graph of neurons listens"] * 20
    path = tmp_path / "log.txt"
    path.write_text("\n".join(lines) + "\n")
    everything = rows(inn, trained, path, "--unknown", "count")
    assert [row["line"] for row in everything if row["flagged"]] == [61]
    assert [row["line"] for row in rows(inn, trained, path, "--only-flagged")] == [61]
    top = rows(inn, trained, path, "--top", 3)
    assert [row["surprise"] for row in top] == sorted((row["surprise"] for row in everything), reverse=True)[:3]
    assert top[0]["line"] == 61
    told = inn("score", trained, path, "--only-flagged").out
    assert told.endswith("! zzzzqqqq xxxx  <- 'z' at 1, 20.1 bits\n")  # no letter of its own


def test_keys_are_told_and_kept_in_bounds(inn, trained, tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{who} the graph\n" for who in "ab-ba"))
    assert [row["key"] for row in rows(inn, trained, path, "--key", "^([ab])")] == ["a", "b", "", "b", "a"]
    assert "; 2 keys kept; " in inn("score", trained, path, "--key", "^[ab]").err
    bounded = inn("score", trained, path, "--key", "^[ab]", "--keys", 1).err
    assert "; 1 keys kept, 2 forgotten, the least recently used (--keys); " in bounded


@pytest.mark.slow
def test_follow_reads_what_is_appended_and_what_a_rotation_puts_in_its_place(trained, tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("the graph\n")
    command = [sys.executable, "-m", "inn", "score", str(trained), str(path), "--follow", "--format", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = lambda: json.loads(process.stdout.readline())["text"]  # noqa: E731
        assert said() == "the graph"
        with path.open("a") as file:
            file.write("of neurons\n")
        assert said() == "of neurons"
        path.rename(tmp_path / "log.1")
        path.write_text("listens\n")
        assert said() == "listens"
        path.write_text("x\n")  # cut short
        assert said() == "x"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
