"""`inn kinds`: every memory, router, topology, ... there is here, with its options and where it comes from."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

from inn.cli.commands import COMMANDS, summary_of
from inn.cli.common import JSON_HELP, console, print_json
from inn.config.checks import default_of
from inn.config.parser import OptionParser, field_help
from inn.registry import TABLES, TRAINED, Kinds
from inn.system.errors import InputError, lookup

USAGE = "inn kinds [SORT] [--json]"


def parse(argv: list[str]) -> Any:
    """The options of `inn kinds`."""
    parser = OptionParser("inn kinds", USAGE, "List all kinds that settings can name: built in, or from a package.")
    parser.positional("sort", f"Only this sort: {', '.join(tables())}.", required=False)
    parser.flag("--json", JSON_HELP)
    return parser.parse(argv)


def main(argv: list[str]) -> int:
    """Run `inn kinds`."""
    args = parse(argv)
    chosen = tables()
    if args.sort is not None:
        chosen = {args.sort: lookup("sort of kind", args.sort, chosen)}
    found = {sort: {name: describe(kinds, name) for name in kinds} for sort, kinds in chosen.items()}
    if args.json:
        print_json(found)
    else:
        show(found)
    return 0


def tables() -> dict[str, Kinds]:
    """Every table of kinds by its sort, commands and trained models among them."""
    return {**TABLES, "command": COMMANDS, "trained": TRAINED}


def describe(kinds: Kinds, name: str) -> dict[str, Any]:
    """Where a kind comes from and its options, each with its default and its help; or why it cannot be imported."""
    facts: dict[str, Any] = {"from": kinds.origin(name), "options": {}}
    if kinds is COMMANDS:  # `inn COMMAND --help` shows its options; to import them all would take seconds
        return {**facts, "summary": summary_of(name)}
    if kinds is TRAINED:
        return {**facts, "summary": f"a run: inn generate {name}, inn.load('{name}'), ..."}
    try:
        options = kinds.options(name)
    except InputError as error:
        return {**facts, "error": str(error)}
    if not isinstance(options, type) or not is_dataclass(options):
        return facts
    for f in fields(options):
        if f.name != "kind":
            default = getattr(default_of(f), "kind", default_of(f))
            facts["options"][f.name] = {"default": default, "help": field_help(options, f.name)}
    return facts


def show(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    """The kinds as a table for people."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for sort, kinds in found.items():
        for i, (name, facts) in enumerate(kinds.items()):
            options = ", ".join(f"{option} {_shown(of['default'])}" for option, of in facts["options"].items())
            table.add_row("" if i else sort, name, facts["from"], facts.get("error") or facts.get("summary") or options)
    console().print(table)


def _shown(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
