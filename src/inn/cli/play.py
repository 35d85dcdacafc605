"""`inn play`: a page on this machine where a person types, watches the graph read, and silences neurons."""

from __future__ import annotations

from jsonargparse import Namespace

from inn.cli.common import needs_run
from inn.config.parser import OptionParser

USAGE = "inn play RUN [--text TEXT] [--port N] [--open]"
TEXT = "The "
HOW = "Type a text, then silence a neuron and see what it costs."
OPEN = "Open that address in a browser (--open does it), type a text, then silence a neuron and see what it costs."


def main(argv: list[str]) -> int:
    """Run `inn play` until it is interrupted."""
    args = parse(argv)
    needs_run(args.run)
    from inn.explorer.play import serve

    with serve(args.run, text=args.text, host=args.host, port=args.port, device=args.device) as server:
        hint = HOW if args.open else OPEN
        print(f"{args.run} is at\n\n  {server.url}\n\non this machine only. {hint} Stop with Ctrl-C.", flush=True)
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

    parser = OptionParser("inn play", USAGE, "Serve a local page: type a text, and see what the neurons do.")
    parser.positional("run", "A run directory.")
    parser.option("--text", default=TEXT, help="The initial text.")
    parser.option("--host", default=LOOPBACK[0], help=f"The loopback address: {', '.join(LOOPBACK)}.")
    parser.option("--port", type=int, default=0, help="The port; 0 takes a free one.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.flag("--open", "Open the page in a browser.")
    return parser.parse(argv)
