"""`inn analyze`: what the neurons of a run do, what each carries, and what its loss costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from inn.data.prepare import Dataset
    from inn.models.inn import INN
    from inn.models.sequence import SequenceModel

USAGE = (
    "inn analyze RUN [--corpus NAME|file:PATH] [--split valid|test|train|whole] [--symbols N] [--beside RUN2] "
    "[--stability] [--json]"
)
CONTEXTS = 2
"""Contexts of a neuron that are printed; --json has them all."""
RARE = 0.01
"""Share of the symbols below which a class is left out where the worst one is named."""
SURE = 0.95
"""Share of the bootstrap's drawings from which a law of decay is called better than the other without reserve."""
BLOCKS, BLOCK = 8, 256
"""Blocks of text that stability is measured on, and their symbols."""
CLASSES = 2
"""Classes of symbols that a neuron tells most of, printed."""


def main(argv: list[str]) -> int:
    """Run `inn analyze`."""
    args = parse(argv)
    facts = look(args)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn analyze", USAGE, "Look inside a run: what each neuron does, carries and causes.")
    parser.positional("run", "A run directory, of a graph of neurons.")
    parser.option(
        "--corpus", type=str | None, help="Another text to read: a corpus by name, or file:PATH; the run's own if not."
    )
    parser.option(
        "--split",
        type=str | None,
        help="The part to read: valid (of the run's own corpus), test, train, or whole (of another).",
    )
    parser.option("--symbols", type=int, default=16384, help="Symbols to look at, spread evenly over the part.")
    parser.option("--unknown", default="error", help="Symbols of another text the run does not know: error or skip.")
    parser.option("--beside", help="Another run of the same symbols, to find the counterparts of these neurons in.")
    parser.flag("--stability", "Also how a push decays over symbols and grows over rounds, and Lyapunov exponents.")
    parser.option("--seed", type=int, default=0, help="Of shuffled controls and sampled orders.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    args.split = args.split or ("valid" if args.corpus is None else "whole")
    one_of("--split", args.split, "train", "valid", "test", "whole")
    one_of("--unknown", args.unknown, "error", "skip")
    if args.symbols < 256:
        raise InputError(f"--symbols must be at least 256, not {args.symbols}")
    if not 0 <= args.seed < 2**63:
        raise InputError(f"--seed must be between 0 and 2^63 - 1, not {args.seed}")
    return args


def look(args: Namespace) -> dict[str, Any]:
    """The survey of a run."""
    from inn.analysis.overview import survey
    from inn.cli.display import working
    from inn.system.device import resolve_device

    where = resolve_device(args.device)
    model, dataset = load_with_text(args.run, args.corpus, args.unknown)
    model.to(where)
    other = None if args.beside is None else counterpart(args.beside, dataset).to(where)
    with working("looking inside") as report:
        facts = survey(
            model, dataset, split=args.split, symbols=args.symbols, seed=args.seed, run=args.run, report=report
        )
    if other is not None:
        facts["beside"] = {"run": args.beside, **together(model, other, dataset.split(args.split), args)}
    if args.stability:
        facts["stability"] = steadiness(model, dataset.split(args.split), args.seed)
    return facts


def counterpart(run: str, dataset: Dataset) -> INN:
    """The model of another run that reads the same symbols."""
    from inn.models.inn import INN
    from inn.runs.load import load

    other = load(run)
    if not isinstance(other, INN):
        raise InputError(f"run '{run}' has no neurons to set beside; give a run of kind 'inn'")
    if other.vocabulary != dataset.vocabulary:
        raise InputError(f"run '{run}' reads other symbols; give a run of the same corpus and vocabulary")
    return other


def together(model: SequenceModel, other: INN, text: np.ndarray, args: Namespace) -> dict[str, Any]:
    """Counterparts in the other run, beside those that two untrained models of the same kind have."""
    from inn.analysis.comparison.beside import beside
    from inn.analysis.controls.untrained import untrained
    from inn.analysis.recording.stretches import stretches
    from inn.inference.evaluate import device_of
    from inn.models.inn import INN

    assert isinstance(model, INN)
    cut = stretches(text, args.symbols, device=device_of(model))
    control = beside(untrained(model, seed=0), untrained(other, seed=1), cut, args.seed)
    return {**beside(model, other, cut, args.seed), "untrained": control}


def steadiness(model: SequenceModel, text: np.ndarray, seed: int) -> dict[str, Any]:
    """`inn.analysis.stability` on blocks spread over the text."""
    import numpy as np

    from inn.analysis.stability.measure import stability
    from inn.inference.evaluate import as_tokens, device_of

    length = min(BLOCK, len(text))
    starts = np.linspace(0, len(text) - length, BLOCKS).astype(int)
    return stability(model, as_tokens(np.stack([text[at : at + length] for at in starts]), device_of(model)), seed=seed)


def load_with_text(run: str, corpus: str | None = None, unknown: str = "error") -> tuple[SequenceModel, Dataset]:
    """A run's model and its own corpus, or another one in the symbols of the run."""
    from inn.cli.display import fetching
    from inn.cli.evaluate import load_with_data
    from inn.data.prepare import encode_corpus
    from inn.runs.load import load

    if corpus is None:
        return load_with_data(run)
    model = load(run)
    if model.vocabulary is None:
        raise InputError(f"run '{run}' has no vocabulary to read another text with; leave out --corpus")
    with fetching() as report:
        return model, encode_corpus(corpus, model.vocabulary, unknown=unknown, report=report)


def show(facts: dict[str, Any]) -> None:
    """The survey as tables."""
    out = console()
    out.print(f"{facts['run']}  on {facts['corpus']}, {facts['split']}", style="bold", soft_wrap=True)
    mass = "" if facts["mass"] is not None or facts["router"] == "none" else " (weights are sizes of what is heard)"
    out.print(
        f"{facts['neurons']} neurons, {facts['rounds']} rounds, router {facts['router']}{mass}; "
        f"{facts['effective_neurons']:.2f} effective neurons, "
        f"{facts['control']['untrained']['effective_neurons']:.2f} untrained",
        soft_wrap=True,
    )
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


def law(found: dict[str, Any]) -> str:
    """The law that a push fades by, where one could be fitted."""
    if found["better"] is None:
        return "–"
    of = found["power"]["exponent"] if found["better"] == "power" else found["exponential"]["rate"]
    law = f"lag^-{of['mean']:.2f}" if found["better"] == "power" else f"exp(-{of['mean']:.3f} lag)"
    unsure = ", unsure" if found["share"] < SURE else ""
    return f"{law} [{of['low']:.3g}, {of['high']:.3g}]{unsure}"


def show_stability(found: dict[str, Any], out: Console) -> None:
    table = _table("stability", "a push of", "decays as", "half-life:")
    pushes = {f"the input, after round {i + 1}": one for i, one in enumerate(found["embedding"])}
    for what, one in {**pushes, "the whole state": found["state"]}.items():
        if one is not None:
            life = one["half_life"]
            table.add_row(what, law(one), "–" if life is None else f"{life:.1f}")
    out.print()
    out.print(table)
    exponent, time = found["depth"]["exponent"], found["time"]
    mean, low, high = (exponent[end] for end in ("mean", "low", "high"))
    said = f"Over rounds a push grows by exp({mean:+.2f} [{low:+.2f}, {high:+.2f}]) each"
    if time is not None:
        said += f"; largest Lyapunov exponent over time {time['exponents']['mean'][0]:+.4f} per symbol"
    out.print(f"{said}.", style="dim")


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
    """What every neuron carries, and what is lost without it; narrow enough for a small window."""
    carried = _table("what each neuron carries", "neuron", "tells of [bits]", "half-life:", "alone:")
    missed = _table("what is lost without it", "neuron", "bits [95 %]:", "mean instead:", "Shapley:", "most at")
    for card in facts["cards"]:
        lesion, life, name = card["lesion"], card["timescale"]["half_life"], str(card["neuron"])
        tells = ", ".join(f"{name} {bits:.2f}" for name, bits in told(card)) or "–"
        carried.add_row(name, tells, "long" if life is None else f"{life:.1f}", f"{card['lens']['bits']:.2f}")
        missed.add_row(
            name,
            _cost(lesion),
            f"{lesion['mean_replaced']:+.3f}",
            f"{card['importance']:+.3f}",
            worst(lesion["by_class"], facts["classes"]),
        )
    out.print(carried)
    note = (
        "Tells of: information about the class of the symbol just read, above what shuffled classes give; half-life of "
        "a perturbation, in symbols; alone: bits per symbol of a prediction from this neuron only "
        f"({facts['cards'][0]['lens']['silent']:.2f} from none).\n"
    )
    out.print(note, style="dim")
    out.print(missed)
    out.print(
        "Bits per symbol when it says nothing, and when it says its mean; Shapley: its share of what all are worth; "
        "the class of the next symbol that it is missed at the most.\n",
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
    above = [(name, of["bits"]) for name, of in card["information"].items() if of["bits"] > of["null"]]
    return sorted(above, key=lambda pair: -pair[1])[:CLASSES]


def worst(by_class: dict[str, float], shares: dict[str, float]) -> str:
    """The class of symbols that a lesion costs most at, of those that are not too rare to tell."""
    common = {name: bits for name, bits in by_class.items() if shares.get(name, 0.0) >= RARE}
    name = max(common, key=lambda key: common[key], default=None)
    return "–" if name is None else f"{name} {common[name]:+.2f}"


def show_lesions(facts: dict[str, Any], out: Console) -> None:
    table = _table("what is lost without other parts", "part", "bits [95 %]:")
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
    table = _table("where each neuron is loudest", "neuron", "activity:", "text")
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
