"""`inn data`: the corpora, where they are, whether they are what they should be, and shards made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json, task_options
from inn.config.parser import OptionParser
from inn.config.run import TASK_SOURCES, DataConfig, task_of
from inn.data.catalogue import get, list_corpora, list_tasks, verify
from inn.registry import VOCABULARIES
from inn.system.errors import InputError

USAGE = (
    "inn data list | get NAME | verify NAME | show task:NAME [--task OPTION=VALUE,...] | "
    "prepare NAME --to FOLDER [--vocabulary KIND] [--workers N] [--json]"
)
SHOWN, STEPS = 3, 40
"""Sequences of a task that are shown, and steps of each."""


def main(argv: list[str]) -> int:
    """Run `inn data`."""
    args = parse(argv)
    does = {"list": show_list, "get": show_get, "verify": show_verify, "show": show_task, "prepare": show_prepare}
    does[args.action](args)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    does = "List corpora and tasks, fetch or verify a corpus, show a task's data, encode a corpus into shards."
    parser = OptionParser("inn data", USAGE, does)
    parser.positional("action", "list, get, verify, show or prepare.")
    parser.positional(
        "name",
        "A corpus by name, or file:PATH; for show task:NAME, csv:PATH or npz:PATH; for prepare also datasets:NAME.",
        required=False,
    )
    parser.option("--to", help="The folder that prepare writes, for --data.corpus shards:FOLDER.")
    parser.option("--vocabulary", default="characters", help="Kind of symbols: bytes, characters, words or bpe.")
    parser.option("--units", type=int, default=2048, help="Number of sub-words of bpe.")
    parser.option("--workers", type=int, default=1, help="Processes that encode, one shard each at a time.")
    parser.option("--split", default="train", help="The split to read, of datasets:NAME.")
    parser.option("--column", default="text", help="The column with the text, of datasets:NAME.")
    parser.option("--task", default="", help="Options of the task to show, as length=8,seed=1.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("action", args.action, "list", "get", "verify", "show", "prepare")
    one_of(
        "--vocabulary",
        args.vocabulary,
        *(kind for kind in VOCABULARIES if kind not in ("tokenizer", "names", "channels")),
    )
    if (args.to is None) == (args.action == "prepare"):
        raise InputError(f"--to FOLDER belongs to inn data prepare, which needs it: {USAGE}")
    if (args.name is None) != (args.action == "list"):
        wrong = f"takes no name, but was given '{args.name}'" if args.name else "needs the name of a corpus"
        raise InputError(f"inn data {args.action} {wrong}: {USAGE}")
    if args.action == "show" and task_of(args.name) == "none":
        raise InputError(f"'{args.name}' is no task; show takes task:NAME, csv:PATH or npz:PATH")
    if args.action not in ("list", "show") and args.name.partition(":")[0] in TASK_SOURCES:
        raise InputError(f"'{args.name}' is made when it is read: there is nothing to {args.action}; try inn data show")
    if args.task and args.action != "show":
        raise InputError(f"--task belongs to inn data show: {USAGE}")
    return args


def show_list(args: Namespace) -> None:
    """Every corpus, and where it would be read from."""
    from rich.table import Table

    corpora, tasks = list_corpora(), list_tasks()
    if args.json:
        return print_json({"corpora": corpora, "tasks": tasks})
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("corpus", "bytes", "where", "what it is, and its licence"):
        table.add_column(column, justify="right" if column == "bytes" else "left", no_wrap=" " not in column)
    for c in corpora:
        size = f"{c['bytes']:,}" if c["bytes"] else ""
        table.add_row(c["name"], size, c["where"], f"{c['description']} ({c['licence']})")
    table.add_row("file:PATH", "", "yours", "your own text: a file, a folder or a glob")
    table.add_row("shards:FOLDER", "", "yours", "what `inn data prepare` has encoded")
    out = console()
    out.print(table)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("task", "reads", "measured by", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for t in tasks:
        name = f"{t['name']}:PATH" if t["name"] in TASK_SOURCES else f"task:{t['name']}"
        about = t.get("error") or t["description"]
        table.add_row(name, t.get("reads", ""), t.get("metric") or ("" if "error" in t else "what it tells"), about)
    out.print()
    out.print(table)
    return out.print("inn data show task:NAME shows some of a task; --json lists its options", style="dim")


def show_task(args: Namespace) -> None:
    """Some sequences of a task: what is read at each step, and the target where it counts."""
    from inn.data.task_data import task_data
    from inn.data.view import sequence_rows

    data = task_data(DataConfig(corpus=args.name), task_options(args.task) if args.task else None)
    examples = data.examples("valid")
    some = examples.take(np.arange(min(SHOWN, len(examples))))
    rows = [list(sequence_rows(one, data.vocabulary)) for one in some.batches(1)]
    if args.json:
        facts = {"name": data.name, "sequences": {part: len(e) for part, e in data.parts.items()}}
        listed = [[{"reads": read, "target": target} for read, target in one] for one in rows]
        return print_json({**facts, "endless": data.endless, "metric": data.task.metric, "shown": listed})
    out = console()
    train = "endless" if data.endless else f"{len(data.parts['train']):,}"
    counts = f"train {train}, valid {len(examples):,}, test {len(data.parts['test']):,} sequences"
    out.print(f"{data.name}: {counts}, of {examples.lengths.min()} to {examples.lengths.max()} steps in valid, "
              f"measured by {data.task.metric}", soft_wrap=True)  # fmt: skip
    for one in rows:
        cells = [read if target is None else f"{read} → {target}" for read, target in one[:STEPS]]
        more = f"   … {len(one) - STEPS:,} more steps, the last {one[-1][0]} → {one[-1][1]}" if len(one) > STEPS else ""
        out.print()
        out.print("   ".join(cells) + more)
    return None


def show_get(args: Namespace) -> None:
    """Fetch a corpus where it is not here already, and say where it is."""
    from inn.cli.display import reporting

    with reporting() as report:
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
            print(f"{check.file}: {check.note or 'is correct'}, sha256 {check.found}")


def show_prepare(args: Namespace) -> None:
    """Encode a corpus into a folder of shards; a preparation that was killed goes on."""
    from inn.cli.display import reporting
    from inn.data.shards import DatasetTexts, open_shards, prepare_shards, stream_texts

    corpus = args.name
    if corpus.startswith("datasets:"):
        texts = DatasetTexts(corpus.removeprefix("datasets:"), args.split, args.column)
        corpus = f"file:{stream_texts(texts, Path(args.to) / 'text')}"
    with reporting() as report:
        folder = prepare_shards(corpus, args.to, args.vocabulary, units=args.units, workers=args.workers, report=report)
    parts, vocabulary, sha256 = open_shards(folder)
    sizes = {part: len(symbols) for part, symbols in parts.items()}
    shards = len(list(folder.glob("*.bin")))
    if args.json:
        facts = {"corpus": corpus, "folder": str(folder), "symbols": sizes, "shards": shards}
        return print_json({**facts, "vocabulary": vocabulary.size, "sha256": sha256})
    print(f"{sum(sizes.values()):,} {vocabulary.kind} in {shards} shards; read them with --data.corpus shards:{folder}")
    return None
