"""`inn topology`: what the wiring of a run's graph is, and what learning changed of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, needs_run, print_json
from inn.config.parser import OptionParser

if TYPE_CHECKING:
    from inn.analysis.measures.topology import Shape, Wired

USAGE = "inn topology RUN [--json]"


def main(argv: list[str]) -> int:
    """Run `inn topology`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.analysis.measures.topology import topology
    from inn.runs.load import load

    found = topology(load(args.run))
    if args.json:
        print_json({"run": args.run, **asdict(found)})
    else:
        show(args.run, found)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn topology", USAGE, "Edges, degrees, hubs and distances of a run's graph, then and now.")
    parser.positional("run", "A run, a checkpoint or an exported folder.")
    parser.flag("--json", JSON_HELP)
    return parser.parse(argv)


def show(run: str, found: Wired) -> None:
    """Print the wiring, with what it was at the start where that is another."""
    from rich.table import Table

    out = console()
    out.print(f"{run}: {found.neurons:,} neurons, topology {found.kind}", style="bold", soft_wrap=True)
    changed = bool(found.new or found.gone)
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("now", justify="right")
    columns = [rows(found.now)]
    if changed and found.before is not None:
        table.add_column("at the start", justify="right")
        columns.append(rows(found.before))
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    out.print(table)
    hubs = ", ".join(f"{n} ({count})" for n, count in found.now.hubs.items())
    more = f" and {found.now.hub_count - len(found.now.hubs)} more" if found.now.hub_count > len(found.now.hubs) else ""
    out.print(f"hubs (heard by more than 1.5 × the mean): {hubs or 'none'}{more}")
    if found.before is None:
        out.print("What the edges were at the start is not known: they were drawn when the model was made.")
    elif changed:
        out.print(f"since the start: {found.new:,} edges are new, {found.gone:,} are gone")
    else:
        out.print("since the start: no edge has changed")


def rows(shape: Shape) -> dict[str, Any]:
    """What is told of a shape, by name."""
    return {
        "edges (to itself)": f"{shape.edges:,} ({shape.itself:,})",
        "density": f"{shape.density:.4f}",
        "hears, least / mean / most": _degrees(shape.heard),
        "is heard by, least / mean / most": _degrees(shape.hearers),
        "hubs": f"{shape.hub_count:,}",
        "diameter": f"{shape.diameter:,}",
        "mean distance": f"{shape.distance:.2f}",
        "pairs with a way": f"{shape.reached:.1%}",
        "clustering": f"{shape.clustering:.3f}",
        "edges that also lead back": f"{shape.mutual:.1%}",
    }


def _degrees(degrees: Any) -> str:
    return f"{degrees.least:,} / {degrees.mean:,.1f} / {degrees.most:,}"
