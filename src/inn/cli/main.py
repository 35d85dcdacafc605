"""The command `inn`: finds the command that was asked for, runs it, and turns mistakes into one sentence."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence

import inn
from inn.registry import Kinds
from inn.system.errors import InputError

COMMANDS = Kinds(
    "command",
    "inn.commands",
    {
        "train": "inn.cli.train",
        "eval": "inn.cli.evaluate",
        "analyze": "inn.cli.analyze",
        "stability": "inn.cli.stability",
        "score": "inn.cli.score",
        "compress-text": "inn.cli.compress_text",
        "decompress-text": "inn.cli.decompress_text",
        "runs": "inn.cli.runs",
        "push": "inn.cli.push",
        "generate": "inn.cli.generate",
        "export": "inn.cli.export",
        "look": "inn.cli.look",
        "play": "inn.cli.play",
        "upcycle": "inn.cli.upcycle",
        "info": "inn.cli.info",
        "kinds": "inn.cli.kinds",
        "data": "inn.cli.data",
        "compress": "inn.cli.compress",
        "sweep": "inn.cli.sweep",
        "demo": "inn.cli.demo",
    },
)
"""Every command: the module whose `main(argv)` runs it, imported when it is asked for."""

SUMMARIES = {
    "train": "train a model: a recipe's, or one of your own settings",
    "eval": "score a run on held-out text, beside n-gram floors",
    "analyze": "look inside a run: what each neuron does, carries and causes",
    "stability": "how a push fades over symbols and grows over depth, in models of any kind",
    "score": "what every line of a text or a pipe costs a run; the surprising ones stand out",
    "compress-text": "write a text in the bits that a run needs to predict it",
    "decompress-text": "get the text back, byte for byte, with the same run",
    "runs": "the runs of a folder, side by side: what they are, what they reached, their curves",
    "push": "put a run on the Hugging Face Hub, or show what would be put there",
    "generate": "let a run write, one symbol at a time",
    "export": "write a run as a folder that Hugging Face transformers opens",
    "look": "write a page that shows what the neurons of a run do",
    "play": "type a text on a page of this machine, and watch and silence the neurons",
    "upcycle": "make a population of neurons of a pretrained Mamba of Hugging Face",
    "info": "parameters, compute, state and settings of a recipe or a run",
    "kinds": "every memory, router, topology, ... there is here, with its options and where it comes from",
    "data": "list, get and verify the corpora",
    "compress": "make a trained model smaller: neuronal states in place of weights",
    "sweep": "search for the settings of a recipe that suit its text best",
    "demo": "train, evaluate and sample a small graph of neurons, here and now",
}
"""What each built-in command is for; of one that a package brings, the package's own summary says it."""

_OF_A_CHECKOUT = {"study": "studies", "bench": "benchmarks"}

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
    if argv[0] in _OF_A_CHECKOUT and argv[0] not in COMMANDS:
        raise InputError(
            f"command '{argv[0]}' is not part of the package; in a checkout, pip install -e {_OF_A_CHECKOUT[argv[0]]}"
        )
    COMMANDS.check(argv[0])
    try:
        return COMMANDS[argv[0]].main(argv[1:]) or 0
    except SystemExit as stop:  # --help has been printed
        return int(stop.code or 0)


def summaries() -> dict[str, str]:
    """Every command there is here, and what it is for."""
    return {name: SUMMARIES.get(name) or COMMANDS.summary(name) for name in COMMANDS}


def _help() -> str:
    commands = "\n".join(f"  {name:<16}{text}" for name, text in summaries().items())
    return f"""usage: inn COMMAND ...

Sequence models that are graphs of neurons.

{commands}

`inn COMMAND --help` documents every option; `inn --version` prints the version. Try `inn demo` first."""


def _refuse(sentence: str) -> int:
    print(f"inn: {sentence}", file=sys.stderr)
    return 2
