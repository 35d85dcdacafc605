"""`inn recipes`: what can be trained by name, and what it takes."""

from __future__ import annotations

from typing import Any

from inn.cli.common import JSON_HELP, console, print_json
from inn.config.parser import OptionParser
from inn.config.settings import read_recipe, recipes
from inn.data.catalogue import list_corpora

USAGE = "inn recipes [--json]"


def main(argv: list[str]) -> int:
    """Run `inn recipes`."""
    parser = OptionParser("inn recipes", USAGE, "The recipes that `inn train` knows by name.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    rows = list_recipes()
    if args.json:
        print_json({"recipes": rows})
    else:
        show(rows)
    return 0


def list_recipes() -> list[dict[str, Any]]:
    """One row of plain data per recipe, the quickest first; `minutes` are those of its model on two CPU cores."""
    where = {corpus["name"]: corpus["where"] for corpus in list_corpora()}
    rows = []
    for name in recipes():
        tree = read_recipe(name)
        corpus = tree["data"]["corpus"]
        rows.append(
            {
                "name": name,
                "description": tree["description"],
                "corpus": corpus,
                "where": where.get(corpus, "generated"),
                "symbols": tree["train"]["symbols"],
                **tree["cost"],
            }
        )
    return sorted(rows, key=lambda row: row["minutes"])


def show(rows: list[dict[str, Any]]) -> None:
    """The recipes as a table for people."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("recipe", "time on 2 cores", "parameters", "text", "symbols"):
        left = column in ("recipe", "text")
        table.add_column(column, justify="left" if left else "right", no_wrap=column != "time on 2 cores")
    for row in rows:
        here = "" if row["where"] != "download" else " (download)"
        amounts = duration(row["minutes"]), short(row["parameters"]), row["corpus"] + here, short(row["symbols"])
        table.add_row(row["name"], *amounts, style="dim" if here else "")
    out = console()
    out.print(table)
    out.print("\n`inn train demo` trains one; `inn info demo` shows all of its settings.")


def short(count: float) -> str:
    """A large number in three characters or so.

    >>> short(258503), short(4219163), short(90_000_000), short(4096)
    ('259 k', '4.2 M', '90 M', '4 k')
    """
    if count >= 999_500:
        return f"{count / 1e6:.1f} M" if count < 9.95e6 else f"{count / 1e6:.0f} M"
    return f"{count / 1e3:.0f} k"


def duration(minutes: float) -> str:
    """About how long, in the largest unit that fits.

    >>> duration(0.2), duration(4), duration(50), duration(540), duration(14400)
    ('seconds', '4 min', '50 min', '9 h', '10 days')
    """
    if minutes < 1:
        return "seconds"
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
