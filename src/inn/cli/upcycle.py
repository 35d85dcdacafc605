"""`inn upcycle`: from a pretrained Mamba of Hugging Face to a run whose neurons are copies of it."""

from __future__ import annotations

from shlex import quote
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.settings import split_overrides

USAGE = f"inn upcycle MAMBA_DIR RUN {SETTINGS_USAGE}"


def main(argv: list[str]) -> int:
    """Run `inn upcycle`."""
    args = parse(argv)
    facts = make(args.mamba_dir, args.run, args.overrides)
    if args.json:
        print_json(facts)
        return 0
    run = quote(args.run)
    print(
        f"{facts['neurons']} neurons ({facts['weights']} weights, router {facts['router']}), "
        f"{facts['parameters']:,} parameters, {facts['vocabulary']:,} symbols: for now they compute what "
        f"{args.mamba_dir} does\nthe run is in {args.run}; now try\n  inn generate {run} --prompt 'The '\n"
        f"  inn train --from {run} --run {quote(args.run + '-tuned')} --data.corpus file:PATH --train.lr 1e-4"
    )
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments, and the settings given as `overrides`."""
    own, overrides = split_overrides(argv)
    parser = OptionParser(
        "inn upcycle", USAGE, "Convert a pretrained Mamba into neurons: copies that compute the same."
    )
    parser.positional("mamba_dir", "A folder with a saved MambaForCausalLM of transformers.")
    parser.positional("run", "The folder of the run.")
    parser.flag("--json", JSON_HELP)
    args = with_settings(parser, own, overrides).parse(own)
    args.overrides = overrides
    return args


def make(folder: str, run: str, overrides: list[str]) -> dict[str, Any]:
    """Write the run, and say what it is as plain data."""
    from inn.config.settings import resolve_tree
    from inn.surgery.upcycle import Pretrained, settings_of, write_run

    pretrained = Pretrained(folder)
    config = resolve_tree(settings_of(pretrained), overrides, f"'{folder}'").config
    model = write_run(pretrained, run, config)
    return {
        "run": run,
        "from": folder,
        "neurons": config.model.neurons,
        "weights": config.model.weights,
        "router": config.model.router.kind,
        "parameters": model.num_parameters,
        "vocabulary": config.model.vocab,
    }
