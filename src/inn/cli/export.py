"""`inn export`: a run in the form of another program."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, needs_run, print_json
from inn.config.parser import OptionParser
from inn.registry import EXPORTS

USAGE = "inn export RUN DIR [--to KIND] [--KIND.OPTION VALUE] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn export`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.export.base import export

    said = export(args.run, args.dir, args.to, **vars(args.get(args.to) or Namespace()))
    files = [path for path in sorted(Path(args.dir).rglob("*")) if path.is_file()]
    sizes = {path.relative_to(args.dir).as_posix(): path.stat().st_size for path in files}
    if args.json:
        print_json({"run": args.run, "folder": args.dir, "to": args.to, "bytes": sizes, "said": said})
        return 0
    out = console()
    for name, size in sizes.items():
        out.print(f"{size:>12,}  {name}")
    for line in said:
        out.print(line, soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn export", USAGE, "Write a run in the form of another program.")
    parser.positional("run", "A run directory, or one checkpoint in it.")
    parser.positional("dir", "The folder to write, a new one or an empty one.")
    parser.kind("to", EXPORTS, "hf", "What it is written for.", argv)
    parser.flag("--json", JSON_HELP)
    return parser.parse(argv)
