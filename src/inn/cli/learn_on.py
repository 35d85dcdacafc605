"""`inn learn-on`: a run learns one thing after another, and grows an organ for what is new to it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, one_of, print_json
from inn.config.parser import OptionParser
from inn.config.run import TASK_SOURCES
from inn.system.errors import InputError

USAGE = "inn learn-on RUN FILE... --run NEW [--neurons 2] [--novelty calibrated|N] [--symbols N] [--json]"
OWN = ("batch", "window", "order")
LIKE = (
    "optimizer", "momentum", "ema", "lr", "schedule", "warmup", "decay", "lr_floor", "beta1", "beta2", "clip",
    "accumulate",
)  # fmt: skip
"""What an organ is trained by as its run was, unless it is given."""


def main(argv: list[str]) -> int:
    """Run `inn learn-on`; returns 0."""
    args = parse(argv)
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data
    from inn.surgery.learn_on import learn_on
    from inn.surgery.runs import write_run

    own = Run(args.source)
    Run.check_free(args.run)
    model, dataset = load_with_data(own)
    config = own.config()
    train = {name: getattr(config.train, name) for name in LIKE} | {"symbols": args.symbols}
    train |= {} if args.lr is None else {"lr": args.lr}
    data = {name: getattr(config.data, name) for name in OWN}
    grown, log = learn_on(
        model,
        [dataset, *(_read(name, model, args.unknown) for name in args.files)],
        novelty=args.novelty,
        neurons=args.neurons,
        memory=args.memory,
        data=data if config.data.text else {"batch": config.data.batch},
        train=train,
        held=args.held,
        seed=args.seed,
    )
    write_run(grown, own, args.run, shlex.join(["inn", "learn-on", *argv]))
    facts = {"from": args.source, "run": args.run, **log.to_dict(), "before": model.num_parameters}
    if args.json:
        print_json(facts)
    else:
        _show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments; `novelty` is a number where it is not `calibrated`."""
    parser = OptionParser(
        "inn learn-on", USAGE, "Learn one thing after another: an organ grows for what is new, all else stays as it is."
    )
    parser.positional("source", "The run that learns on; what it was trained on comes first.")
    parser.positional("files", "What comes, in order: texts, or corpora by name (pydoc, npz:..., ...).", many=True)
    parser.option("--run", help="The folder of the new run.")
    parser.option("--neurons", type=int, default=2, help="How many an organ has.")
    parser.option("--memory", help="Kind of memory of an organ's neurons; default: that of the last neuron.")
    parser.option("--novelty", default="calibrated", help="calibrated, or deviations above which something is new.")
    parser.option("--symbols", type=int, default=200_000, help="What an organ is trained on.")
    parser.option("--lr", type=float | None, help="Its learning rate; default: that of the run.")
    parser.option("--unknown", default="error", help="Symbols of a text that the run does not know: error or skip.")
    parser.option("--held", type=int, default=20_000, help="Symbols or examples that are scored of each (0: all).")
    parser.option("--seed", type=int, default=0, help="What the new weights are drawn from.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    if args.run is None:
        raise InputError(f"--run is missing: {USAGE}")
    if not args.files:
        raise InputError(f"there is nothing to learn: name at least one FILE: {USAGE}")
    one_of("--unknown", args.unknown, "error", "skip")
    if args.novelty != "calibrated":
        try:
            args.novelty = float(args.novelty)
        except ValueError:
            raise InputError(f"--novelty is calibrated, or a number of deviations, not '{args.novelty}'") from None
    return args


def _read(name: str, model: Any, unknown: str) -> Any:
    """What comes, by its name, or read already; a file may be given by its path alone."""
    source = name.partition(":")[0]
    if source in TASK_SOURCES:
        return name
    from inn.data.prepare import encode_corpus

    named = f"file:{name}" if source not in ("file", "shards") and Path(name).exists() else name
    return encode_corpus(named, model.vocabulary, unknown=unknown)


def _show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    out, names = console(), facts["names"]
    table, shown = Table(box=None, pad_edge=False), "{:.3f}"
    table.add_column("after", no_wrap=True)
    for i in range(len(names)):
        table.add_column(f"{i}", justify="right", no_wrap=True)
    for name in ("novelty", "organ", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    for t, row in enumerate(facts["matrix"]):
        novelty, fits = facts["novelty"][t], facts["fits"][t]
        organ = f"{fits} new" if t in facts["expanded"] else f"{fits}" if fits else "–"
        new = "–" if novelty is None else f"{novelty:.2f}"
        table.add_row(f"{t}", *map(shown.format, row), new, organ, f"{facts['parameters'][t]:,}")
    for i, name in enumerate(names):
        out.print(f"{i}: {name}", soft_wrap=True)
    out.print(f"\n{facts['score']} on each, after each (novelty above 1: an organ was grown)")
    out.print(table)
    out.print(
        f"\nfinal average {facts['average']:.3f}, backward transfer {facts['backward_transfer']:+.3f}, forward "
        f"transfer {facts['forward_transfer']:+.3f} (above 0: better)\n"
        f"wrote {facts['run']}; now try\n  inn eval {shlex.quote(facts['run'])}",
        soft_wrap=True,
    )
