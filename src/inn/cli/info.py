"""`inn info`: what a recipe or a run amounts to, before or after it is trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, SETTINGS_USAGE, console, is_run, one_of, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.settings import Settings, recipes, resolve, split_overrides
from inn.runs.trained import located
from inn.system.errors import InputError
from inn.system.trees import dotted

if TYPE_CHECKING:
    from inn.config.run import RunConfig

USAGE = f"inn info RECIPE|RUN {SETTINGS_USAGE} [--diagram [--form text|mermaid|svg]] [--energy] [--json]"
_ENERGY: dict[str, tuple[type, Any, str]] = {
    "symbols": (int, 1024, "Of --energy: symbols of the validation data that are read."),
    "text": (str, None, "Of --energy: a text file to read instead."),
    "spike-code": (str, "ternary", "Of --energy: how counts are sent: binary, ternary, bitwise or complement."),
    "pj-multiply-add": (float, 4.6, "Of --energy: picojoules of a multiply-add (45 nm; Horowitz, ISSCC 2014)."),
    "pj-add": (float, 0.9, "Of --energy: picojoules of an addition (the same source)."),
    "pj-byte": (float, 0.0, "Of --energy: picojoules of a byte read or written; 0 leaves memory out."),
    "bits": (int, 32, "Of --energy: bits of a number, in proportion to which all of it costs."),
}
"""What `--energy` takes: the type, the default and the help of each option."""


def main(argv: list[str]) -> int:
    """Run `inn info`."""
    args, settings = parse(argv)
    if args.diagram:
        drawn = drawing(settings, args.form)
        print_json({"name": args.what, args.form: drawn}) if args.json else print(drawn)
        return 0
    facts = {**amounts(settings), "validation": validation(args.what)}
    if args.energy:
        facts["energy"] = energy(args)
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
    parser.flag("--diagram", "Print the model as boxes and wires, with axes and sizes, FLOPs and bytes of state.")
    parser.option("--form", type=str | None, help="Of --diagram: text (when not given), mermaid or svg.")
    parser.flag("--energy", "Of a trained run: energy per symbol, by multiply-adds, and by additions of spikes.")
    for name, (kind, _, about) in _ENERGY.items():
        parser.option(f"--{name}", type=kind | None, help=about)
    parser.flag("--json", JSON_HELP)
    args = with_settings(parser, own, overrides).parse(own)
    _check_energy(args, overrides)
    if args.form is not None and not args.diagram:
        raise InputError("--form is of --diagram; give that too, or leave it out")
    if args.diagram and args.energy:
        raise InputError("--diagram prints the model alone; leave out --energy")
    args.form = one_of("--form", args.form or "text", "text", "mermaid", "svg")
    recipe = str(Path(located(args.what)) / "config.yaml") if is_run(args.what) else args.what
    return args, resolve(recipe, overrides)


def _check_energy(args: Namespace, overrides: list[str]) -> None:
    for name, (_, default, _) in _ENERGY.items():
        key = name.replace("-", "_")
        if args.energy:
            value = default if getattr(args, key) is None else getattr(args, key)
            setattr(args, key, value)
            least = 1 if name in ("symbols", "bits") else 0
            if isinstance(value, int | float) and value < least:
                raise InputError(f"--{name} must be at least {least}, not {value}")
        elif getattr(args, key) is not None:
            raise InputError(f"--{name} is of --energy; give that too, or leave it out")
    if args.energy and overrides:
        raise InputError(f"--energy is measured on a trained run as it is; leave out {overrides[0]}")


def energy(args: Namespace) -> dict[str, Any]:
    """What a run does for a symbol, and what that would take, as plain data."""
    from inn.analysis.energy import SOURCE, operations_of

    if not is_run(args.what):
        raise InputError(f"--energy is measured on a trained run as it is; '{args.what}' is none")
    assumed = {"multiply_add": args.pj_multiply_add, "add": args.pj_add, "byte": args.pj_byte, "bits": args.bits}
    found = operations_of(args.what, args.symbols, text=args.text, code=args.spike_code)
    own = (args.pj_multiply_add, args.pj_add) != (_ENERGY["pj-multiply-add"][1], _ENERGY["pj-add"][1])
    return {
        **asdict(found),
        "picojoules": found.picojoules(**assumed),
        "picojoules_without_spikes": found.without_spikes().picojoules(**assumed),
        "assumed": {**assumed, "source": "options of the command" if own else SOURCE},
    }


def drawing(settings: Settings, form: str) -> str:
    """The model as boxes and wires: `text`, `mermaid` or `svg`."""
    from inn.models.build import build_model
    from inn.models.diagram import diagram

    drawn = diagram(build_model(_config(settings).model))
    return {"text": drawn.__str__, "mermaid": drawn.mermaid, "svg": drawn.svg}[form]().rstrip("\n")


def _config(settings: Settings) -> RunConfig:
    """The settings of a run, its data's sizes among them."""
    from inn.models.size import sized

    sizes = {"vocab": settings.vocab}
    if settings.vocab is None:  # only the data can tell
        from inn.data.prepare import prepare

        sizes = prepare(settings.config.data).sizes
    return sized(settings, sizes)


def amounts(settings: Settings) -> dict[str, Any]:
    """The model's size and cost, and the effective settings, as plain data."""
    from inn.models.build import build_model

    config = _config(settings)
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
    if (energy := facts.get("energy")) is not None:
        show_energy(energy)
    if facts["validation"]:
        said = ", ".join(f"{name} {value:.4f}" for name, value in facts["validation"].items())
        out.print(f"best validation     {said}", soft_wrap=True)


def show_energy(facts: dict[str, Any]) -> None:
    """Operations and energy of a symbol, with what they rest on."""
    out, assumed = console(), facts["assumed"]
    spikes = "" if facts["rate"] is None else f", {facts['additions']:,.0f} additions"
    out.print(f"operations          {facts['multiply_adds']:,.0f} multiply-adds{spikes} per symbol", soft_wrap=True)
    if facts["rate"] is not None:
        said = f"{facts['rate']:.3f} spikes per input and step, {facts['silent']:.0%} of inputs silent"
        counted = f", in up to {facts['steps']:,} steps of time" if facts["steps"] > 1 else ""
        out.print(f"firing              {said}{counted}", soft_wrap=True)
    dense = "" if facts["rate"] is None else f" ({facts['picojoules_without_spikes'] / 1e3:,.1f} nJ without spikes)"
    out.print(f"energy              {facts['picojoules'] / 1e3:,.1f} nJ per symbol{dense}, assuming:", soft_wrap=True)
    byte = "memory left out" if not assumed["byte"] else f"{assumed['byte']:g} pJ a byte moved"
    out.print(
        f"{'':20}{assumed['multiply_add']:g} pJ a multiply-add, {assumed['add']:g} pJ an addition, {byte}, "
        f"{assumed['bits']} bits ({assumed['source']})",
        soft_wrap=True,
    )
