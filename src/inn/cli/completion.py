"""Completion by the Tab key: `eval "$(register-python-argcomplete inn)"` in a shell, with argcomplete installed."""

from __future__ import annotations

import os
import shlex
from argparse import ArgumentParser
from contextlib import suppress

from inn.cli.commands import COMMANDS
from inn.system.errors import InputError


def asked() -> bool:
    """Whether a shell asks what could come next."""
    return "_ARGCOMPLETE" in os.environ


def complete() -> int:
    """Answer the shell and end: commands for the first word, and a command's own options after it.

    The shell's line is in the environment, as argcomplete has it; nothing is run.
    """
    line = os.environ["COMP_LINE"][: int(os.environ.get("COMP_POINT", "0")) or None]
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote
        words = line.split()
    done = words[1:] if line.endswith(" ") else words[1:-1]
    if not done or done[0] not in COMMANDS:
        import argcomplete

        parser = ArgumentParser("inn")
        parser.add_argument("command", choices=list(COMMANDS))
        argcomplete.autocomplete(parser)
        return 0
    os.environ["_ARGCOMPLETE"] = "2"  # the words before the command's name are not its own
    with suppress(InputError, SystemExit):  # what is there so far may mean nothing; then nothing is proposed
        COMMANDS[done[0]].main(done[1:])  # its parser answers and ends the process
    return 0
