"""`inn generate`: what a run writes, shown as it is written."""

from __future__ import annotations

import sys

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, needs_run, one_of, print_json
from inn.config.parser import OptionParser

USAGE = "inn generate RUN [--prompt TEXT] [--tokens N] [--temperature T] [--top-k K] [--top-p P] [--seed S] [--fresh]"


def main(argv: list[str]) -> int:
    """Run `inn generate`."""
    args = parse(argv)
    needs_run(args.run)
    return write_text(args)


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn generate", USAGE, "Continue a prompt with a trained model.")
    parser.positional("run", "A run directory.")
    parser.option("--prompt", default="", help="The text to continue; it is printed too.")
    parser.option("--tokens", type=int | None, default=500, help="Symbols to generate; null: until interrupted.")
    parser.option("--temperature", type=float, default=1.0, help="Above 0; below 1: likelier text; above: more varied.")
    parser.option("--top-k", type=int | None, help="Sample from the K most likely symbols.")
    parser.option(
        "--top-p", type=float | None, help="Sample from the most likely symbols with this total probability, in (0, 1]."
    )
    parser.option("--seed", type=int | None, help="The same seed generates the same text.")
    parser.option("--unknown", default="error", help="What to do with unknown symbols of the prompt: error or skip.")
    parser.flag("--fresh", "Start with an empty n-gram cache, without that of the training text.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.option("--dtype", default="float32", help="float32, or bfloat16 (under autocast).")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("--unknown", args.unknown, "error", "skip")
    one_of("--dtype", args.dtype, "float32", "bfloat16")
    if args.json and args.tokens is None:
        args.tokens = 500  # an object that never ends is none
    return args


def write_text(args: Namespace) -> int:
    """Load the run, and print the prompt and what follows it."""
    import torch

    from inn.runs.load import check_writes, load
    from inn.system.device import resolve_device

    device = resolve_device(args.device)
    check_writes(args.run)
    model = load(args.run).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=args.dtype == "bfloat16"):
        pieces = model.generate(
            args.prompt,
            args.tokens,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            seed=args.seed,
            unknown=args.unknown,
            fresh=args.fresh,
        )
        if args.json:
            text = "".join(pieces)
            print_json({"run": args.run, "prompt": args.prompt, "text": text, "seed": args.seed})
            return 0
        sys.stdout.write(args.prompt)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    print()
    return 0
