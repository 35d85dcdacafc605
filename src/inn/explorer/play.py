"""A run on a page of this machine, where a person types, watches the graph read, and silences neurons."""

from __future__ import annotations

from pathlib import Path

from inn.explorer.page import build_page
from inn.explorer.player import Player
from inn.explorer.server import LOOPBACK, LocalServer
from inn.models.inn import INN
from inn.runs.directory import Run
from inn.runs.load import check_writes, load, path_of
from inn.system.device import resolve_device
from inn.system.errors import InputError

TEXT = "The "
"""The text to begin with."""


def serve(
    run: str | Path | Run, *, text: str = TEXT, host: str = LOOPBACK[0], port: int = 0, device: str = "auto"
) -> LocalServer:
    """The server of a run's page, not yet serving (`serve_forever`); its address is `url`.

    Args:
        run: a run, or its directory.
        text: what stands there at first.
        host: a name of this machine to itself.
        port: 0 takes one that is free.
        device: `auto`, `cpu`, `cuda` (or `cuda:1`, ...) or `mps`.

    Raises `InputError` for a run without neurons, and as `LocalServer` does.
    """
    path = path_of(run)
    check_writes(run)
    model = load(run).to(resolve_device(device))
    if not isinstance(model, INN):
        kind = Run(path).config().model.kind
        raise InputError(f"run '{path}' is of kind '{kind}', which has no neurons to silence")
    player = Player(model)
    page = build_page(
        [{"name": Path(path).absolute().name, "passage": player.read({"serial": 0, "text": text})["passage"]}],
        play={"neurons": model.config.neurons, "text": text, "unit": player.vocabulary.unit},
    )
    return LocalServer(page, {"read": player.read, "write": player.write}, host, port)
