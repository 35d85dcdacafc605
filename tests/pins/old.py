"""What the pins need of the library beyond its public face: the one place to mend when a module moves.

Everything else under `tests/pins` uses `inn` itself, `inn.ops.use_backend`, `inn.hf` and the command line.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence


def name_of(weight: str) -> str:
    """The name of a weight when the pins were made, which it still has in files."""
    from inn.models.names import filed

    return filed(weight)


def main(argv: Sequence[str]) -> int:
    """The command line, in this process."""
    from inn.cli.main import main

    return main(list(argv))


def train_until(recipe: str, overrides: Sequence[str], run: str, step: int) -> None:
    """Begin a run and interrupt it after `step` steps, as Ctrl-C would. Only `make.py` needs this."""
    from inn.config.settings import resolve
    from inn.training.trainer import train

    def interrupt(event) -> None:
        if type(event).__name__ == "Progress" and event.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    summary = train(resolve(recipe, overrides).config, run, report=interrupt)
    assert (summary["status"], summary["step"]) == ("stopped", step)
