"""`inn look`: one page that shows what a run's neurons do, to be opened in a browser."""

from __future__ import annotations

import shlex
from pathlib import Path

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, needs_run, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError
from inn.system.files import check_place

USAGE = "inn look RUN [RUN2] [--text FILE] [--symbols N] [--out page.html] [--live] [--open]"
SYMBOLS = 2000


def main(argv: list[str]) -> int:
    """Run `inn look`."""
    args = parse(argv)
    for run in filter(None, (args.run, args.run2)):
        needs_run(run)
    from inn.cli.display import tell_look, write_look
    from inn.explorer.look import default_out

    out = Path(args.out) if args.out else default_out(args.run, args.run2)
    if out.is_dir():
        raise InputError(f"--out '{out}' is a folder; name a file in it, {out / 'page.html'}")
    check_place(out)
    options = {"text": args.text, "symbols": args.symbols, "unknown": args.unknown, "live": args.live}
    facts = write_look(args.run, args.run2, out, shlex.join(["inn", "look", *argv]), **options)
    if args.json:
        print_json(facts)
        return 0
    tell_look(facts)
    if facts["play"] and not args.live:
        print(f"to type a text of your own and silence neurons: {facts['play']} --open")
    if args.open:
        import webbrowser

        webbrowser.open(out.absolute().as_uri())
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn look", USAGE, "Write one HTML page that shows what the neurons of a run do.")
    parser.positional("run", "A run directory.")
    parser.positional("run2", "A second run with the same vocabulary, for comparison.", required=False)
    parser.option("--text", help="A text file to read; default: part of the run's validation text.")
    parser.option("--symbols", type=int, default=SYMBOLS, help="Maximum number of symbols of the passage.")
    parser.option("--unknown", default="error", help="What to do with unknown symbols of the text: error or skip.")
    parser.option("--out", help="The file to write; default: page.html in the run directory, or NAME.html.")
    parser.flag("--live", "Put the model itself on the page: type and silence there, without Python.")
    parser.flag("--open", "Open the page in a browser.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("--unknown", args.unknown, "error", "skip")
    if args.live and args.run2:
        raise InputError("--live puts one model on the page; leave RUN2 out")
    if args.symbols < 2:
        raise InputError(f"--symbols must be at least 2, not {args.symbols}")
    return args
