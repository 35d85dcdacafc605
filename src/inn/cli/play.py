"""`inn play`: a page on this machine where a person types, watches the graph read, and silences neurons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.explorer.server import LocalServer

USAGE = "inn play RUN [--text TEXT] [--port N] [--open]"
TEXT = "The "


def main(argv: list[str]) -> int:
    """Run `inn play` until it is interrupted."""
    args = parse(argv)
    with serve(args) as server:
        print(f"{args.run} is at\n\n  {server.url}\n\nfor this machine alone. Stop with Ctrl-C.", flush=True)
        if args.open:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    from inn.explorer.server import LOOPBACK

    parser = OptionParser("inn play", USAGE, "Serve a page to this machine: type a text, and see what the neurons do.")
    parser.positional("run", "A run directory.")
    parser.option("--text", default=TEXT, help="The text to begin with.")
    parser.option("--host", default=LOOPBACK[0], help=f"A name of this machine to itself: {', '.join(LOOPBACK)}.")
    parser.option("--port", type=int, default=0, help="The port; 0 takes one that is free.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.flag("--open", "Open the page in a browser.")
    return parser.parse(argv)


def serve(args: Namespace) -> LocalServer:
    """The server of a run's page, not yet serving; raises `InputError` for a run without neurons."""
    from inn.explorer.page import build_page
    from inn.explorer.player import Player
    from inn.explorer.server import LocalServer
    from inn.models.inn import INN
    from inn.runs.directory import Run
    from inn.runs.load import load
    from inn.system.device import resolve_device

    model = load(args.run).to(resolve_device(args.device))
    if not isinstance(model, INN):
        kind = Run(args.run).config().model.kind
        raise InputError(f"run '{args.run}' is of kind '{kind}', which has no neurons to silence")
    player, name = Player(model), Path(args.run).absolute().name
    page = build_page(
        [{"name": name, "passage": player.read({"serial": 0, "text": args.text})["passage"]}],
        play={"neurons": model.config.neurons, "text": args.text},
    )
    return LocalServer(page, {"read": player.read, "write": player.write}, args.host, args.port)
