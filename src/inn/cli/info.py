"""`inn info`: what a recipe or a run amounts to, before or after it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, is_run, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.settings import Settings, recipes, resolve, split_overrides
from inn.system.trees import dotted

USAGE = f"inn info RECIPE|RUN {SETTINGS_USAGE} [--json]"


def main(argv: list[str]) -> int:
    """Run `inn info`."""
    args, settings = parse(argv)
    facts = {**amounts(settings), "validation": validation(args.what)}
    if args.json:
        print_json({"name": args.what, **facts})
    else:
        show(args.what, facts)
    return 0


def parse(argv: list[str]) -> tuple[Namespace, Settings]:
    """The command's arguments, and the settings they come to."""
    own, overrides = split_overrides(argv)
    parser = OptionParser("inn info", USAGE, "Parameters, training compute, state and settings of a recipe or a run.")
    about = "A recipe by name, the path of a YAML file, task:NAME, csv:PATH, npz:PATH, or a run directory."
    parser.positional("what", about, metavar="RECIPE|RUN", names=recipes())
    parser.flag("--json", JSON_HELP)
    args = with_settings(parser, own, overrides).parse(own)
    recipe = str(Path(args.what) / "config.yaml") if is_run(args.what) else args.what
    return args, resolve(recipe, overrides)


def amounts(settings: Settings) -> dict[str, Any]:
    """The model's size and cost, and the effective settings, as plain data."""
    from inn.models.build import build_model
    from inn.models.size import sized

    config = settings.config
    sizes = {"vocab": settings.vocab}
    if settings.vocab is None:  # only the data can tell
        from inn.data.prepare import prepare

        sizes = prepare(config.data).sizes
    config = sized(settings, sizes)
    model = build_model(config.model)
    return {
        "description": settings.description,
        "kind": config.model.kind,
        "parameters": model.num_parameters,
        "parameters_by_part": model.parameters_by_part(),
        "training_flops_per_symbol": model.training_flops,
        "forward_flops_by_part": model.flops(),
        "state_bytes": model.initial_state(1).bytes,
        "settings": config.to_dict(),
    }


def validation(what: str) -> dict[str, float] | None:
    """The best validation of a run, in bits and whatever its task is measured by; None of what is no trained run."""
    from inn.runs.directory import Run

    best = ((Run(what).summary() or {}).get("best") or {}) if is_run(what) else {}
    return {name: value for name, value in best.items() if name not in ("step", "nats", "count")} or None


def show(name: str, facts: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for field, value in dotted(facts["settings"]).items():
        table.add_row(field, str(value))
    out.print(table)
    parts = ", ".join(f"{part} {count:,}" for part, count in facts["parameters_by_part"].items())
    out.print(f"\n{name}  {facts['description']}", style="bold", soft_wrap=True)
    out.print(f"kind                {facts['kind']}")
    out.print(f"parameters          {facts['parameters']:,}" + (f"  ({parts})" if parts else ""), soft_wrap=True)
    out.print(f"training compute    {facts['training_flops_per_symbol']:,.0f} FLOPs per symbol")
    out.print(f"state               {facts['state_bytes']:,} bytes per stream")
    if facts["validation"]:
        said = ", ".join(f"{name} {value:.4f}" for name, value in facts["validation"].items())
        out.print(f"best validation     {said}", soft_wrap=True)
