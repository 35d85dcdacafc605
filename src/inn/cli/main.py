"""The command `inn`: finds the command that was asked for, runs it, and turns mistakes into one sentence."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import inn
from inn.cli import completion
from inn.cli.commands import COMMANDS, summaries
from inn.cli.common import QUIET
from inn.system.errors import InputError

_OF_A_CHECKOUT = {"study": "studies", "bench": "benchmarks"}

_ADVICE = {
    "leave it out, or use --unknown skip": (
        "take it out of the text",
        ("analyze", "generate", "learn-on", "look", "score"),
    ),
    "use --data.vocabulary bytes": (
        "convert it, or give a run that reads bytes",
        ("compress-text", "demo", "info", "sweep", "train", "upcycle"),
    ),
}
"""Remedies that are options: what is said in their place, and the commands that have them."""

# What the machine refuses is no fault of the program's, and no traceback would help.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return its exit code.

    0: done. 2: a mistake in what was given; stderr has one sentence. 130: interrupted. 141: nobody reads the output.
    """
    # Threads that wait for work by spinning slow training down several times over wherever another program wants the
    # same cores. Read when torch starts, so set before any command imports it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever called; what is for stderr would be printed to stdout
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows has no word for ≥ or é, and would raise
            stream.reconfigure(errors="replace")
    if completion.asked():
        return completion.complete()
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(argv)
        sys.stdout.flush()  # a closed pipe shows here, not in the interpreter's last breath
        return code
    except InputError as error:
        sentence = str(error)
        for option, (instead, known) in _ADVICE.items():
            sentence = sentence if argv[0] in known else sentence.replace(option, instead)
        return _refuse(sentence)
    except BrokenPipeError:
        _let_go_of_stdout()
        return 141
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _let_go_of_stdout()
        return _refuse(str(InputError(f"{error.filename or 'writing'}: {os.strerror(error.errno)}")))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        return _refuse(f"there is not enough memory for inn {argv[0]}; choose a smaller model, batch or streams")
    except KeyboardInterrupt:
        print("\ninn: interrupted", file=sys.stderr)
        return 130


def _let_go_of_stdout() -> None:
    """Where stdout takes nothing any more, keep the interpreter from trying once more as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if argv[0] == "--version":
        print(f"inn {inn.__version__}")
        return 0
    if argv[0] in _OF_A_CHECKOUT and argv[0] not in COMMANDS:
        raise InputError(
            f"command '{argv[0]}' is not part of the package; in a checkout, pip install -e {_OF_A_CHECKOUT[argv[0]]}"
        )
    COMMANDS.check(argv[0])
    quiet = QUIET.set("--quiet" in argv)
    try:
        return COMMANDS[argv[0]].main([token for token in argv[1:] if token != "--quiet"]) or 0
    except SystemExit as stop:  # --help has been printed
        return int(stop.code or 0)
    finally:
        QUIET.reset(quiet)


def _help() -> str:
    groups = "\n\n".join(
        "\n".join(
            [f"{group}:", *(f"  {name:<17}{shorten(text, 61, placeholder=' ...')}" for name, text in commands.items())]
        )
        for group, commands in summaries().items()
    )
    return f"""usage: inn COMMAND ...

Train small sequence models that are graphs of neurons, look inside, use them.

{groups}

`inn COMMAND --help` explains a command; with --quiet each shows no progress.
`inn --version` prints the version. Try `inn demo` first."""


def _refuse(sentence: str) -> int:
    print(f"inn: {sentence}", file=sys.stderr)
    return 2
