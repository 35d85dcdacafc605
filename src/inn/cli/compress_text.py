"""`inn compress-text`: a text in the bits that a run needs to predict it."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError

USAGE = "inn compress-text RUN FILE OUT [--streams K] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn compress-text`."""
    args = parse(argv)
    facts = pack(args.run, args.file, args.out, args.streams)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn compress-text", USAGE, "Compress a text with a run: as small as `inn eval` says.")
    parser.positional("run", "A run directory.")
    parser.positional("file", "The text; any file where the run reads bytes.")
    parser.positional("out", "The file to write; it must not exist.")
    parser.option("--streams", type=int, default=1, help="Parts read side by side: faster, and a larger file.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    if not 1 <= args.streams < 1 << 16:
        raise InputError(f"--streams must be between 1 and 65,535, not {args.streams}")
    return args


def pack(run: str, file: str, out: str, streams: int) -> dict[str, Any]:
    """Compress a file; what it came to, as plain data."""
    from inn.cli.display import working
    from inn.inference.coding.text import compress
    from inn.runs.load import load
    from inn.system.files import plain_errors

    check_free(out)
    with plain_errors(file):
        data = Path(file).read_bytes()
    model = load(run)
    with working("compressing") as report:
        packed = compress(model, data, streams=streams, progress=report)
    write_new(out, packed.content)
    assert model.vocabulary is not None
    return {
        "file": file,
        "out": out,
        "bytes": len(data),
        "compressed_bytes": len(packed.content),
        "symbols": packed.symbols,
        "unit": model.vocabulary.unit,
        "bits_per_symbol": 8 * len(packed.content) / packed.symbols if packed.symbols else None,
        "model_bits_per_symbol": packed.model_bits / packed.symbols if packed.symbols else None,
        "xz_bytes": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        "streams": streams,
    }


def show(facts: dict[str, Any]) -> None:
    out = console()
    text = f"{facts['file']}: {facts['bytes']:,} bytes -> {facts['compressed_bytes']:,} (xz: {facts['xz_bytes']:,})"
    if facts["symbols"]:
        bits, predicted = facts["bits_per_symbol"], facts["model_bits_per_symbol"]
        text += f", {bits:.4f} bits per {facts['unit']}; predicted: {predicted:.4f}"
    out.print(f"{text}\nwrote {facts['out']}", soft_wrap=True)


def check_free(out: str) -> None:
    """Raise `InputError` for a file that is there already."""
    if Path(out).exists():
        raise InputError(f"'{out}' exists already; remove it, or choose another name")


def write_new(out: str, content: bytes) -> None:
    """Write a file, wholly or not at all."""
    from inn.system.files import replace_file

    replace_file(Path(out), content)
