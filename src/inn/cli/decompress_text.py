"""`inn decompress-text`: the text that `inn compress-text` wrote, byte for byte."""

from __future__ import annotations

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, needs_model, print_json
from inn.config.parser import OptionParser
from inn.config.settings import split_overrides
from inn.system.files import check_free

USAGE = f"inn decompress-text RUN|RECIPE FILE OUT {SETTINGS_USAGE} [--json]"


def main(argv: list[str]) -> int:
    """Run `inn decompress-text`."""
    args, settings = parse(argv)
    needs_model(args.run)
    check_free(args.out)
    from inn.cli.display import working
    from inn.inference.coding.files import decompress_file

    with working("decompressing") as progress:
        size = decompress_file(args.run, args.file, args.out, settings=settings, progress=progress)
    if args.json:
        print_json({"run": args.run, "file": args.file, "out": args.out, "bytes": size})
        return 0
    console().print(f"wrote {args.out}, {size:,} bytes", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> tuple[Namespace, list[str]]:
    """The command's arguments, and the settings of a recipe."""
    own, settings = split_overrides(argv)
    parser = OptionParser("inn decompress-text", USAGE, "Decompress a file with the run that compressed it.")
    parser.positional("run", "The run directory, or the recipe and its settings, that the text was compressed with.")
    parser.positional("file", "What `inn compress-text` wrote.")
    parser.positional("out", "The file to write; it must not exist.")
    parser.flag("--json", JSON_HELP)
    return parser.parse(own), settings
