"""`inn data`: the corpora, where they are, and whether they are what they should be."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from inn.commands.common import JSON_HELP, console, one_of, print_json
from inn.data.catalogue import get, list_corpora, verify
from inn.errors import InputError
from inn.options import OptionParser

USAGE = "inn data list | get NAME | verify NAME [--json]"


def main(argv: list[str]) -> int:
    """Run `inn data`."""
    args = parse(argv)
    {"list": show_list, "get": show_get, "verify": show_verify}[args.action](args)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn data", USAGE, "List the corpora, fetch one, or check one against its sha256.")
    parser.positional("action", "list, get or verify.")
    parser.positional("name", "A corpus by name, or file:PATH (not for list).", required=False)
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("action", args.action, "list", "get", "verify")
    if (args.name is None) != (args.action == "list"):
        wrong = f"takes no name, but was given '{args.name}'" if args.name else "needs the name of a corpus"
        raise InputError(f"inn data {args.action} {wrong}: {USAGE}")
    return args


def show_list(args: Namespace) -> None:
    """Every corpus, and where it would be read from."""
    from rich.table import Table

    corpora = list_corpora()
    if args.json:
        return print_json({"corpora": corpora})
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("corpus", "bytes", "where", "what it is, and its licence"):
        table.add_column(column, justify="right" if column == "bytes" else "left", no_wrap=" " not in column)
    for c in corpora:
        size = f"{c['bytes']:,}" if c["bytes"] else ""
        table.add_row(c["name"], size, c["where"], f"{c['description']} ({c['licence']})")
    table.add_row("file:PATH", "", "yours", "your own text: a file, a folder or a glob")
    return console().print(table)


def show_get(args: Namespace) -> None:
    """Fetch a corpus where it is not here already, and say where it is."""
    from inn.commands.display import fetching

    with fetching() as report:
        facts = get(args.name, report=report)
    if args.json:
        return print_json(facts)
    print(f"{args.name} is here: {facts['bytes']:,} bytes, sha256 {facts['sha256']}")
    for file in facts["files"]:
        print(f"  {file['path']}")
    return None


def show_verify(args: Namespace) -> None:
    """Compare a corpus with its sha256; raises `InputError` where it differs or is not here."""
    checks = verify(args.name)
    bad = [check for check in checks if not check.ok]
    if args.json:
        facts: dict[str, Any] = {"name": args.name, "ok": not bad, "files": [check.to_dict() for check in checks]}
        print_json(facts)
    if bad:
        raise InputError(f"{bad[0].file}: {bad[0].note}")
    if not args.json:
        for check in checks:
            print(f"{check.file}: {check.note or 'is what it should be'}, sha256 {check.found}")
