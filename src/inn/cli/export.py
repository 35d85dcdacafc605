"""`inn export`: a run as a folder that Hugging Face transformers opens."""

from __future__ import annotations

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, needs_run, print_json
from inn.config.parser import OptionParser

USAGE = "inn export RUN DIR [--json]"


def main(argv: list[str]) -> int:
    """Run `inn export`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.hf.export import export

    folder = export(args.run, args.dir)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    if args.json:
        print_json({"run": args.run, "folder": folder, "bytes": sizes})
        return 0
    out = console()
    for name, size in sizes.items():
        out.print(f"{size:>12,}  {name}")
    if "experience.safetensors" in sizes:
        out.print(
            "experience.safetensors holds what the run read last: do not publish it if that was private", style="yellow"
        )
    if "modeling_inn.py" not in sizes:  # a model that transformers cannot be given
        out.print(f"inn.load('{folder}') opens it", soft_wrap=True)
        return 0
    out.print(f"AutoModelForCausalLM.from_pretrained('{folder}') opens it after `import inn.hf`", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn export", USAGE, "Write a run as a folder for Hugging Face transformers.")
    parser.positional("run", "A run directory, or one checkpoint in it.")
    parser.positional("dir", "The folder to write, a new one or an empty one.")
    parser.flag("--json", JSON_HELP)
    return parser.parse(argv)
