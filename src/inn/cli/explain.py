"""`inn explain`: when each neuron of a run is active, in words, and the automaton of a run that counts."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, needs_run, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

USAGE = "inn explain RUN [--neuron N] [--symbols N] [--leaves N] [--json]"
WIDTH = 80


def main(argv: list[str]) -> int:
    """Run `inn explain`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.runs.directory import Run

    neurons = getattr(Run(args.run).model_config(), "neurons", None)
    if None not in (args.neuron, neurons) and args.neuron >= neurons:
        raise InputError(f"there is no neuron {args.neuron} among {neurons}; the first is 0")
    from inn.analysis.rules.runs import explain_run
    from inn.cli.display import reporting

    with reporting() as report:
        facts = explain_run(
            args.run, symbols=args.symbols, leaves=args.leaves, seed=args.seed, device=args.device, report=report
        )
    if args.json:
        print_json(facts)
    else:
        show(facts, args.neuron)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn explain", USAGE, "Say in words when each neuron, edge and gate of a run is active.")
    parser.positional("run", "A run directory, of a graph of neurons.")
    parser.option(
        "--neuron",
        type=int | None,
        help="Print the rules of this neuron, gate and edges; default: of all neurons.",
    )
    parser.option("--symbols", type=int, default=16384, help="Symbols to fit rules on, and as many to test them on.")
    parser.option("--leaves", type=int, default=8, help="Maximum number of leaves of a rule.")
    parser.option("--seed", type=int, default=0, help="Seed of shuffled controls and random strings.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    for name, least in (("symbols", 256), ("leaves", 2), ("neuron", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise InputError(f"--{name} must be at least {least}, not {getattr(args, name)}")
    return args


def show(facts: dict[str, Any], neuron: int | None) -> None:
    """The rules as text, narrow enough for a small window."""
    out, unit = console(), facts["unit"]
    out.print(f"{facts['run']}  on {facts['corpus']}", style="bold", soft_wrap=True)
    out.print(
        f"Rules of at most {facts['leaves']} leaves, fitted on {facts['fitted']:,} {unit}s, "
        f"tested on {facts['held_out']:,} others.",
        soft_wrap=True,
    )
    for kind, one in facts["summary"].items():
        said = f"{one['parts']} {kind}s by round: "
        if one["fidelity"] is None:
            said += "always alike"
        else:
            said += f"median fidelity {one['fidelity']:.2f} (shuffled {one['shuffled']:.2f})"
            said += f", coverage {one['coverage']:.0%}"
        out.print(said, soft_wrap=True)
    if (instead := facts["instead"]) is not None:
        show_instead(instead, unit, out)
    if facts["automaton"] is not None:
        show_automaton(facts["automaton"], out)
    for note in facts["notes"]:
        out.print(f"{note[0].upper()}{note[1:]}.", soft_wrap=True)
    for rule in facts["rules"]:
        if (rule["kind"] != "edge") if neuron is None else rule["neuron"] == neuron:
            show_rule(rule, out)
    note = (
        "Percentages: share of the steps at which it is in its top fifth. Fidelity: AUROC of the rule against that, on "
        "text it was not fitted on; shuffled: of a rule for shuffled activity. Coverage: share of the active steps "
        "that are in leaves of 50 % or more; precision: share of active steps in such leaves."
    )
    out.print(f"\n{textwrap.fill(note, WIDTH)}", style="dim")


def show_instead(instead: dict[str, Any], unit: str, out: Console) -> None:
    out.print(
        f"Bits per {unit}: {instead['whole']:.3f} whole, {instead['rules']:.3f} with rules in place of all neurons,\n"
        f"{instead['mean']:.3f} with their means;",
        soft_wrap=True,
    )
    each = ", ".join(f"{one['neuron']} {one['rules']:+.3f} ({one['mean']:+.3f})" for one in instead["neurons"])
    out.print(textwrap.fill(f"of one neuron its rule (its mean) adds: {each}.", WIDTH))


def show_automaton(found: dict[str, Any], out: Console) -> None:
    from rich.table import Table

    table = Table("state", *found["symbols"], box=None, padding=(0, 2, 0, 0))
    for s, (to, answers) in enumerate(zip(found["following"], found["answer"], strict=True)):
        table.add_row(str(s), *(f"{t} / {found['answers'][a]}" for t, a in zip(to, answers, strict=True)))
    states = f"{found['states']} state{'s' if found['states'] != 1 else ''}"
    out.print(f"\nautomaton of {states}: the next one / what is told, by the symbol read", style="bold")
    out.print(table)
    right = "" if found["right"] is None else f"; {found['right']:.2%} of the targets of the validation part are its"
    out.print(
        f"It begins in state 0, is minimal, and tells what the run does at {found['agreement']:.2%} of the\nsteps of "
        f"{found['strings']} random strings of length {found['length']}{right}.",
        soft_wrap=True,
    )
    carried = ", ".join(f"{n} {share:.0%}" for n, share in enumerate(found["carriers"]))
    out.print(textwrap.fill(f"Each neuron alone tells its state at this share of steps: {carried}.", WIDTH))


def show_rule(rule: dict[str, Any], out: Console) -> None:
    of = f"{rule['neuron']}" if rule["source"] is None else f"{rule['source']} → {rule['neuron']}"
    out.print(f"\n{rule['kind']} {of}, round {rule['round'] + 1}", style="bold")
    if rule["fidelity"] is None:
        out.print("  always alike")
        return
    said = f"  fidelity {rule['fidelity']:.2f} (shuffled {rule['shuffled']:.2f}), coverage {rule['coverage']:.0%}"
    if rule["precision"] is not None:
        said += f", precision {rule['precision']:.0%}"
    out.print(said, style="dim")
    for depth, words, share in rule["lines"]:
        indent = "  " * (depth + 1)
        said = words if share is None else f"{words}: {max(0.0, share):.0%}"
        out.print(textwrap.fill(said, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    "), soft_wrap=True)
