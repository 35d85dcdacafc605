"""`inn eval`: how well a run predicts held-out text, beside what tables of counts make of the same text."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, learn_options, learning, needs_run, one_of, print_json, task_options
from inn.config.parser import OptionParser
from inn.data.metric import in_metric
from inn.system.errors import InputError

USAGE = (
    "inn eval RUN [--split valid|test|train] [--streams K | --window W | --primed] [--limit N] [--compressors]"
    " [--learn [--learn-rate X] [--learn-window N]] [--task OPTION=VALUE,...] [--json]"
)


def main(argv: list[str]) -> int:
    """Run `inn eval`."""
    args = parse(argv)
    needs_run(args.run)
    from inn.cli.display import reporting
    from inn.inference.held_out import evaluate_run

    with reporting() as report:
        facts = evaluate_run(
            args.run,
            args.split,
            streams=args.streams,
            window=args.window,
            limit=args.limit,
            device=args.device,
            dtype=args.dtype,
            compressors=args.compressors,
            primed=args.primed,
            learn=learning(args),
            task=args.task,
            report=report,
        )
    if args.json:
        print_json(facts)
    elif "metrics" in facts:
        show_task(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn eval", USAGE, "Score a run: each symbol after the first, once, the state carried.")
    parser.positional("run", "A run directory.")
    parser.option("--split", default="valid", help="The part of the run's corpus to score: train, valid or test.")
    parser.option("--streams", type=int, default=1, help="Parts read side by side: faster; 1 is one strict stream.")
    parser.option(
        "--window",
        type=int | None,
        help="Start from an empty state every W symbols, like lm-evaluation-harness; else it is carried.",
    )
    parser.flag("--primed", "Begin with what can be recalled of the training text, as compressors are primed with it.")
    learn_options(parser, "Also score a copy that learns from what it has scored.")
    parser.option("--limit", type=int | None, help="Score the first N symbols only.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.option("--dtype", default="float32", help="float32, or bfloat16 (under autocast).")
    parser.option("--task", help="Of a task, options that differ from training: length=256,active=4.")
    parser.flag("--compressors", "Also xz, PPMd and zpaq, if installed, primed with the training text.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("--split", args.split, "train", "valid", "test")
    one_of("--dtype", args.dtype, "float32", "bfloat16")
    args.task = None if args.task is None else task_options(args.task)
    if args.limit is not None and args.limit < 2:
        raise InputError(f"--limit must be at least 2, not {args.limit}")
    if args.streams < 1:
        raise InputError(f"--streams must be at least 1, not {args.streams}")
    if args.window is not None and args.window < 1:
        raise InputError(f"--window must be at least 1, not {args.window}")
    if args.window is not None and args.streams > 1:
        raise InputError("--streams carries the state on and --window starts it afresh; leave one of them out")
    return args


def show(facts: dict[str, Any]) -> None:
    """The score beside the floors, as a table for people."""
    from rich.table import Table

    out, metric = console(), facts["metric"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"{facts['corpus']}, {facts['split']}")
    table.add_column(metric, justify="right")
    digits = 1 if metric == "PPL" else 3
    for name, bits in facts["floors"].items():
        table.add_row(name, f"{in_metric(bits, metric):,.{digits}f}", style="dim")
    table.add_row(facts["run"], f"{facts[metric.lower()]:,.{digits}f}", style="bold")
    if learned := facts.get("learned"):
        table.add_row("learning while reading", f"{learned[metric.lower()]:,.{digits}f}", style="bold")
    show_resting(facts)
    afresh = f", the state fresh every {facts['window']:,}" if facts["window"] else ""
    also = ""
    if facts["bpb"] is not None and metric != "BPB" and f"{facts['bpb']:.3f}" != f"{facts[metric.lower()]:.3f}":
        also = f", {facts['bpb']:.3f} bits per byte"
    out.print(f"{facts['count']:,} {facts['unit']}s scored{afresh}{also}; --json has every unit", style="dim")
    out.print(table)


def show_task(facts: dict[str, Any]) -> None:
    """The measures of a task, its own first, beside the loss and that of an answer that is always the same."""
    from rich.table import Table

    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"{facts['corpus']}, {facts['split']}")
    table.add_column(facts["run"], justify="right")
    for name, value in sorted(facts["metrics"].items(), key=lambda item: item[0] != facts["metric"]):
        table.add_row(name, f"{value:,.4f}", style="bold" if name == facts["metric"] else "")
    table.add_row("bits per target", f"{facts['bits']:,.4f}")
    for name, bits in facts["floors"].items():
        table.add_row(f"bits, {name} answer", f"{bits:,.4f}", style="dim")
    show_resting(facts)
    out.print(f"{facts['count']:,} targets of {facts['sequences']:,} sequences; --json has all", style="dim")
    out.print(table)


def show_resting(facts: dict[str, Any]) -> None:
    """Where neurons may rest: how many did not, and what that came to."""
    if active := facts.get("active"):
        share, whole = sum(active.values()) / len(active), facts["dense_flops"]
        console().print(
            f"{share:.1%} of the neurons took part at a step: {facts['flops']:,.0f} FLOPs forward, "
            f"{facts['flops'] / whole:.1%} of what all would cost",
            style="dim",
            soft_wrap=True,
        )
