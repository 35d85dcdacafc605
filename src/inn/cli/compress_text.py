"""`inn compress-text`: a text in the bits that a run needs to predict it."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, learn_options, learning, needs_model, print_json
from inn.config.parser import OptionParser
from inn.config.settings import split_overrides
from inn.system.errors import InputError
from inn.system.files import check_free

USAGE = (
    "inn compress-text RUN|RECIPE FILE OUT [--streams K] [--portable]"
    " [--learn [--learn-rate X] [--learn-window N] [--learn-average X]]"
    f" {SETTINGS_USAGE} [--json]"
)


def main(argv: list[str]) -> int:
    """Run `inn compress-text`."""
    args, settings = parse(argv)
    needs_model(args.run)
    check_free(args.out)
    learn = learning(args)
    from inn.cli.display import working
    from inn.inference.coding.files import compress_file

    options: dict[str, Any] = {"streams": args.streams, "learn": learn, "portable": args.portable, "settings": settings}
    with working("compressing") as progress:
        facts = compress_file(args.run, args.file, args.out, **options, progress=progress)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> tuple[Namespace, list[str]]:
    """The command's arguments, and the settings of a recipe."""
    own, settings = split_overrides(argv)
    parser = OptionParser("inn compress-text", USAGE, "Compress a file with a model; the size is its cross-entropy.")
    parser.positional("run", "A run directory, or a recipe (text of bytes): its model begins with nothing.")
    parser.positional("file", "The text; any file if the vocabulary is bytes.")
    parser.positional("out", "The file to write; it must not exist.")
    parser.option("--streams", type=int, default=1, help="Parts read side by side: faster, and a larger file.")
    parser.flag("--portable", "Any machine decompresses the file, not only one that computes alike; slower.")
    learn_options(parser, "The model learns as it reads, and again as it decompresses.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(own)
    if not 1 <= args.streams < 1 << 16:
        raise InputError(f"--streams must be between 1 and 65,535, not {args.streams}")
    return args, settings


def show(facts: dict[str, Any]) -> None:
    out = console()
    names = {"xz": "xz", "ppmd": "PPMd", "zpaq": "zpaq -m5", "zstd": "zstd -19"}
    rivals = ", ".join(f"{names[k]}: {facts[f'{k}_bytes']:,}" for k in names if f"{k}_bytes" in facts)
    text = f"{facts['file']}: {facts['bytes']:,} bytes -> {facts['compressed_bytes']:,} ({rivals})"
    if facts["symbols"]:
        bits, predicted = facts["bits_per_symbol"], facts["model_bits_per_symbol"]
        text += f", {bits:.4f} bits per {facts['unit']}; predicted: {predicted:.4f}"
    out.print(f"{text}\nwrote {facts['out']}", soft_wrap=True)
