"""The command `inn`: finds the command that was asked for, runs it, and turns mistakes into one sentence."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import inn
from inn.errors import InputError, lookup

COMMANDS = {
    "train": ("inn.commands.train", "train a model: a recipe's, or one of your own settings"),
    "eval": ("inn.commands.evaluate", "score a run on held-out text, beside n-gram floors"),
    "analyze": ("inn.commands.analyze", "look inside a run: what each neuron does, carries and causes"),
    "stability": (
        "inn.commands.stability",
        "how a push fades over symbols and grows over depth, in models of any kind",
    ),
    "score": ("inn.commands.score", "what every line of a text or a pipe costs a run; the surprising ones stand out"),
    "compress-text": ("inn.commands.compress_text", "write a text in the bits that a run needs to predict it"),
    "decompress-text": ("inn.commands.decompress_text", "get the text back, byte for byte, with the same run"),
    "runs": ("inn.commands.runs", "the runs of a folder, side by side: what they are, what they reached, their curves"),
    "push": ("inn.commands.push", "put a run on the Hugging Face Hub, or show what would be put there"),
    "generate": ("inn.commands.generate", "let a run write, one symbol at a time"),
    "export": ("inn.commands.export", "write a run as a folder that Hugging Face transformers opens"),
    "look": ("inn.commands.look", "write a page that shows what the neurons of a run do"),
    "play": ("inn.commands.play", "type a text on a page of this machine, and watch and silence the neurons"),
    "upcycle": ("inn.commands.upcycle", "make a population of neurons of a pretrained Mamba of Hugging Face"),
    "info": ("inn.commands.info", "parameters, compute, state and settings of a recipe or a run"),
    "data": ("inn.commands.data", "list, get and verify the corpora"),
    "compress": ("inn.commands.compress", "make a trained model smaller: neuronal states in place of weights"),
    "study": ("inn.commands.study", "re-create a table of the papers, or show what was measured"),
    "sweep": ("inn.commands.sweep", "search for the settings of a recipe that suit its text best"),
    "bench": ("inn.commands.bench", "measure the speed of kernels, training and writing, beside peers and limits"),
    "demo": ("inn.commands.demo", "train, evaluate and sample a small graph of neurons, here and now"),
}
"""Every command: the module whose `main(argv)` runs it (imported when asked for), and what it is for."""

# What the machine refuses is no fault of the program's, and no traceback would help.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return its exit code.

    0: done. 2: a mistake in what was given; stderr has one sentence. 130: interrupted. 141: nobody reads the output.
    """
    # Threads that wait for work by spinning slow training down several times over wherever another program wants the
    # same cores. Read when torch starts, so set before any command imports it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows has no word for ≥ or é, and would raise
            stream.reconfigure(errors="replace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # a closed pipe shows here, not in the interpreter's last breath
        return code
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        _let_go_of_stdout()
        return 141
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _let_go_of_stdout()
        return _refuse(f"{error.filename or 'writing'}: {os.strerror(error.errno)}")
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
    module, _ = lookup("command", argv[0], COMMANDS)
    try:
        return import_module(module).main(argv[1:]) or 0
    except SystemExit as stop:  # --help has been printed
        return int(stop.code or 0)


def _help() -> str:
    commands = "\n".join(f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items())
    return f"""usage: inn COMMAND ...

Sequence models that are graphs of neurons.

{commands}

`inn COMMAND --help` documents every option; `inn --version` prints the version. Try `inn demo` first."""


def _refuse(sentence: str) -> int:
    print(f"inn: {sentence}", file=sys.stderr)
    return 2
