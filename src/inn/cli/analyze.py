"""`inn analyze`: what the neurons of a run do, what each carries, and what its loss costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, law, needs_run, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

USAGE = (
    "inn analyze RUN [--corpus NAME|file:PATH] [--split valid|test|train|whole] [--symbols N] [--beside RUN2] "
    "[--stability] [--subnetwork bigram] [--json]"
)
CONTEXTS = 2
"""Contexts of a neuron that are printed; --json has them all."""
RARE = 0.01
"""Share of the symbols below which a class is left out where the worst one is named."""
PARTS = 3
"""Tensors of a subnetwork that are named."""
CLASSES = 2
"""Classes of symbols that a neuron tells most of, printed."""


def main(argv: list[str]) -> int:
    """Run `inn analyze`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.analysis.runs import survey_run
    from inn.cli.display import reporting

    with reporting() as report:
        facts = survey_run(
            args.run,
            args.split,
            corpus=args.corpus,
            unknown=args.unknown,
            symbols=args.symbols,
            other=args.beside,
            steadiness=args.stability,
            part=args.subnetwork,
            seed=args.seed,
            device=args.device,
            report=report,
        )
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn analyze", USAGE, "Analyze a run: what each neuron does and encodes, and its ablation.")
    parser.positional("run", "A run directory, of a graph of neurons.")
    parser.option(
        "--corpus", type=str | None, help="Another text to read: a corpus by name, or file:PATH; default: the run's."
    )
    parser.option(
        "--split",
        type=str | None,
        help="The part to read: valid (of the run's own corpus), test, train, or whole (of another).",
    )
    parser.option("--symbols", type=int, default=16384, help="Symbols to read, spread evenly over the part.")
    parser.option("--unknown", default="error", help="What to do with unknown symbols of another text: error or skip.")
    parser.option("--beside", help="Another run with the same vocabulary, in which to find similar neurons.")
    parser.flag("--stability", "Also how a perturbation decays over time and grows over rounds; Lyapunov exponents.")
    parser.option("--subnetwork", type=str | None, help="Also the few weights that tell this by themselves: bigram.")
    parser.option("--seed", type=int, default=0, help="Seed of shuffled controls and sampled orders.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    args.split = args.split or ("valid" if args.corpus is None else "whole")
    one_of("--split", args.split, "train", "valid", "test", "whole")
    one_of("--unknown", args.unknown, "error", "skip")
    if args.symbols < 256:
        raise InputError(f"--symbols must be at least 256, not {args.symbols}")
    return args


def show(facts: dict[str, Any]) -> None:
    """The survey as tables."""
    out = console()
    out.print(f"{facts['run']}  on {facts['corpus']}, {facts['split']}", style="bold", soft_wrap=True)
    mass = "" if facts["mass"] is not None or not facts["routed"] else " (weights are sizes of the messages)"
    out.print(
        f"{facts['neurons']} neurons, {facts['rounds']} rounds, router {facts['router']}{mass}; "
        f"{facts['effective_neurons']:.2f} effective neurons, "
        f"{facts['control']['untrained']['effective_neurons']:.2f} untrained",
        soft_wrap=True,
    )
    if facts.get("task"):
        said = f"{facts['bits']:.3f} bits per target over {facts['targets']:,} targets in {facts['symbols']:,} steps"
        out.print("\n".join([said, *facts["notes"]]), soft_wrap=True)
    else:
        out.print(f"{facts['bits']:.3f} bits per symbol over {facts['symbols']:,} symbols", soft_wrap=True)
    if facts["roles"] is not None:
        show_roles(facts, out)
    show_neurons(facts, out)
    show_lesions(facts, out)
    show_contexts(facts, out)
    if "beside" in facts:
        show_beside(facts["beside"], out)
    if "stability" in facts:
        show_stability(facts["stability"], out)
    if "subnetwork" in facts:
        show_subnetwork(facts["subnetwork"], out)


def show_beside(found: dict[str, Any], out: Console) -> None:
    table = _table("counterparts in the other run", "neuron", "is like", "CKA:")
    for n, (other, alike) in enumerate(zip(found["order"], found["similarity"], strict=True)):
        table.add_row(str(n), "–" if other < 0 else str(other), f"{alike:.2f}")
    out.print()
    out.print(table)
    said = [f"mean {_chance(found['null'])}, of untrained models {_chance(found['untrained']['null'])}"]
    said += [f"{name} of counterparts agree by {_chance(null)}" for name, null in (found["roles"] or {}).items()]
    out.print("; ".join(said) + ".", style="dim")


def _chance(null: dict[str, float]) -> str:
    return f"{null['observed']:.2f} (by chance {null['mean']:.2f}, p = {null['p']:.3f})"


def show_stability(found: dict[str, Any], out: Console) -> None:
    table = _table("stability", "perturbation of", "decays as", "half-life:")
    pushes = {f"the input, after round {i + 1}": one for i, one in enumerate(found["embedding"])}
    for what, one in {**pushes, "the whole state": found["state"]}.items():
        if one is not None:
            life = one["half_life"]
            table.add_row(what, law(one), "–" if life is None else f"{life:.1f}")
    out.print()
    out.print(table)
    exponent, time = found["depth"]["exponent"], found["time"]
    mean, low, high = (exponent[end] for end in ("mean", "low", "high"))
    said = f"Over rounds a perturbation grows by exp({mean:+.2f} [{low:+.2f}, {high:+.2f}]) each"
    if time is not None:
        said += f"; largest Lyapunov exponent over time {time['exponents']['mean'][0]:+.4f} per symbol"
    out.print(f"{said}.", style="dim")


def show_subnetwork(found: dict[str, Any], out: Console) -> None:
    table = _table(f"the part that tells a {found['target']} (subnetwork)", "weights kept", "nats to the target:")
    for name, key in (
        ("the part", "loss"), ("all", "full"), ("as many, at random", "random"), ("as many, the largest", "largest"),
        ("a part of the untrained model", "untrained"),
    ):  # fmt: skip
        table.add_row(name, f"{found[key]:.3f}")
    out.print()
    out.print(table)
    parts = sorted(found["by_part"].items(), key=lambda pair: -pair[1])[:PARTS]
    out.print(
        f"It is {found['kept']:.1%} of the weights, most of {', '.join(f'{name} ({s:.1%})' for name, s in parts)}. "
        f"Bits per symbol {found['whole']:.2f}, without it {found['ablated']:.2f}, without as many at random "
        f"{found['ablated_random']:.2f}.",
        style="dim",
    )


def show_roles(facts: dict[str, Any], out: Console) -> None:
    spread, untrained = facts["roles"]["hubs"], facts["control"]["untrained"]["received_spread"]
    hubs, specialists = (", ".join(map(str, facts[name])) or "none" for name in ("hubs", "specialists"))
    out.print(
        f"hubs {hubs}; specialists {specialists}; spread of received weight {spread['observed']:.3f} "
        f"(shuffled identities {spread['mean']:.3f}, p = {spread['p']:.3f}; untrained {untrained:.3f})",
        soft_wrap=True,
    )
    if (found := facts["communities"]) is not None:
        groups = " | ".join(" ".join(map(str, group)) for group in found["groups"])
        out.print(
            f"communities {groups}: modularity {found['modularity']:.3f} (chance {found['null']['mean']:.3f}, "
            f"p = {found['null']['p']:.3f})",
            soft_wrap=True,
        )
    out.print()


def show_neurons(facts: dict[str, Any], out: Console) -> None:
    """What each neuron encodes, and its ablation; narrow enough for a small window."""
    carried = _table("what each neuron encodes", "neuron", "encodes [bits]", "half-life:", "alone:")
    missed = _table("ablation (lesion) of a neuron", "neuron", "bits [95 %]:", "mean instead:", "Shapley:", "most at")
    for card in facts["cards"]:
        lesion, life, name = card["lesion"], card["timescale"]["half_life"], str(card["neuron"])
        lens = "–" if card["lens"] is None else f"{card['lens']['bits']:.2f}"
        tells = ", ".join(f"{name} {bits:.2f}" for name, bits in told(card)) or "–"
        carried.add_row(name, tells, "long" if life is None else f"{life:.1f}", lens)
        missed.add_row(
            name,
            _cost(lesion),
            f"{lesion['mean_replaced']:+.3f}",
            f"{card['importance']:+.3f}",
            worst(lesion["by_class"], facts["classes"]),
        )
    out.print(carried)
    silent, task = facts["cards"][0]["lens"], facts.get("task")
    of = "the symbol read, or (→) the next target that counts" if task else "the class of the last symbol"
    note = (
        f"Encodes: information about {of}, above that of shuffled classes; half-life of a perturbation, in "
        f"{'steps' if task else 'symbols'}"
    )
    if silent is not None:
        each = "target" if task else "symbol"
        note += f"; alone: bits per {each} of a prediction from this neuron only ({silent['silent']:.2f} from none)"
    note += ".\n"
    out.print(note, style="dim")
    out.print(missed)
    out.print(
        f"Bits per {'target' if task else 'symbol'} lost when the neuron is silent, and when its mean replaces it; "
        f"Shapley: its share of the value of all; most at: the {'target' if task else 'class of the next symbol'} with "
        "the largest loss.\n",
        style="dim",
    )


def _table(title: str, *heads: str) -> Table:
    """A table without lines; columns whose name ends in `:` are aligned to the right, and only text wraps."""
    from rich import table as rich

    table = rich.Table(
        box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold", min_width=len(title)
    )
    for head in heads:
        right = head.endswith(":")
        table.add_column(head.removesuffix(":"), justify="right" if right else "left", no_wrap=right)
    return table


def _cost(of: dict[str, float]) -> str:
    return f"{of['bits']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}]"


def told(card: dict[str, Any]) -> list[tuple[str, float]]:
    """The classes that a neuron tells most of, those that chance does not reach."""
    above = [(name, of["bits"]) for name, of in (card["information"] or {}).items() if of["bits"] > of["null"]]
    return sorted(above, key=lambda pair: -pair[1])[:CLASSES]


def worst(by_class: dict[str, float], shares: dict[str, float]) -> str:
    """The class of symbols that a lesion costs most at, of those that are not too rare to tell."""
    common = {name: bits for name, bits in by_class.items() if shares.get(name, 0.0) >= RARE}
    name = max(common, key=lambda key: common[key], default=None)
    return "–" if name is None else f"{name} {common[name]:+.2f}"


def show_lesions(facts: dict[str, Any], out: Console) -> None:
    table = _table("ablation (lesion) of other parts", "part", "bits [95 %]:")
    for of in facts["rounds_lesioned"]:
        what = f"round {of['round'] + 1}" if of["what"] == "round" else f"communication in round {of['round'] + 1}"
        table.add_row(what, _cost(of))
    for of in facts["edges"]:
        table.add_row(f"edge {of['from']} → {of['to']}", _cost(of))
    for card in facts["cards"]:
        if card["recall"] is not None:
            lengths = ", ".join(map(str, card["recall"]["length"]))
            what = f"recall of neuron {card['neuron']} (contexts of {lengths})"
            table.add_row(what, f"{card['recall']['bits']:+.3f}")
    out.print(table)
    out.print()


def show_contexts(facts: dict[str, Any], out: Console) -> None:
    table = _table("where each neuron is most active", "neuron", "activity:", "text")
    table.columns[2].no_wrap = True
    for card in facts["cards"]:
        for context in card["contexts"][:CONTEXTS]:
            before, symbol, after = (seen(context[part]) for part in ("before", "symbol", "after"))
            text = f"{before}⟨{symbol.replace(' ', '␣')}⟩{after}"
            table.add_row(str(card["neuron"]), f"{context['activity']:.2f}", text)
    out.print(table)


def seen(text: str) -> str:
    """A text on one line; what cannot be printed is a dot."""
    return "".join("↵" if c == "\n" else c if c.isprintable() else "·" for c in text)
