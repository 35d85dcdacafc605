"""`inn decompress-text`: the text that `inn compress-text` wrote, byte for byte."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from inn.cli.common import console
from inn.cli.compress_text import check_free, write_new
from inn.config.parser import OptionParser
from inn.system.errors import InputError

USAGE = "inn decompress-text RUN FILE OUT"


def main(argv: list[str]) -> int:
    """Run `inn decompress-text`."""
    args = parse(argv)
    size = unpack(args.run, args.file, args.out)
    console().print(f"wrote {args.out}, {size:,} bytes", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn decompress-text", USAGE, "Get back a text, with the run that compressed it.")
    parser.positional("run", "The run directory that the text was compressed with.")
    parser.positional("file", "What `inn compress-text` wrote.")
    parser.positional("out", "The file to write; it must not exist.")
    return parser.parse(argv)


def unpack(run: str, file: str, out: str) -> int:
    """Decompress a file; returns the bytes of the text. Nothing is written unless its checksum fits."""
    from inn.cli.display import working
    from inn.inference.coding.text import decompress
    from inn.runs.load import load
    from inn.system.files import plain_errors

    check_free(out)
    with plain_errors(file):
        content = Path(file).read_bytes()
    model = load(run)
    try:
        with working("decompressing") as report:
            data = decompress(model, content, progress=report)
    except InputError as error:
        raise InputError(f"{file} cannot be decompressed: {error}") from None
    write_new(out, data)
    return len(data)
