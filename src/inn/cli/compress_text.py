"""`inn compress-text`: a text in the bits that a run needs to predict it."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, needs_run, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError
from inn.system.files import check_free

USAGE = "inn compress-text RUN FILE OUT [--streams K] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn compress-text`."""
    args = parse(argv)
    needs_run(args.run)
    check_free(args.out)
    from inn.cli.display import working
    from inn.inference.coding.files import compress_file

    with working("compressing") as progress:
        facts = compress_file(args.run, args.file, args.out, streams=args.streams, progress=progress)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn compress-text", USAGE, "Compress a file with a model; the size is its cross-entropy.")
    parser.positional("run", "A run directory.")
    parser.positional("file", "The text; any file if the vocabulary is bytes.")
    parser.positional("out", "The file to write; it must not exist.")
    parser.option("--streams", type=int, default=1, help="Parts read side by side: faster, and a larger file.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    if not 1 <= args.streams < 1 << 16:
        raise InputError(f"--streams must be between 1 and 65,535, not {args.streams}")
    return args


def show(facts: dict[str, Any]) -> None:
    out = console()
    names = {"xz": "xz", "ppmd": "PPMd", "zpaq": "zpaq -m5"}
    rivals = ", ".join(f"{names[k]}: {facts[f'{k}_bytes']:,}" for k in names if f"{k}_bytes" in facts)
    text = f"{facts['file']}: {facts['bytes']:,} bytes -> {facts['compressed_bytes']:,} ({rivals})"
    if facts["symbols"]:
        bits, predicted = facts["bits_per_symbol"], facts["model_bits_per_symbol"]
        text += f", {bits:.4f} bits per {facts['unit']}; predicted: {predicted:.4f}"
    out.print(f"{text}\nwrote {facts['out']}", soft_wrap=True)
