"""`inn demo`: a small graph of neurons learns the interpreter's own documentation and shows the results."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import SETTINGS_USAGE, console, print_json, with_settings
from inn.config.parser import OptionParser
from inn.config.settings import Settings, resolve, split_overrides

USAGE = f"inn demo [--run DIR] {SETTINGS_USAGE}"
PROMPT = "The "
SAMPLE = 300
"""Symbols of the text that is shown at the end."""


def main(argv: list[str]) -> int:
    """Run `inn demo`; returns 130 where a signal stopped it."""
    args, settings = parse(argv)
    from inn.cli.display import tell_what_next, train_run

    run = args.run or free_run()
    if args.json:
        print_json({"run": run, **train_run(settings, run, json=True)})
        return 0
    print(f"{settings.description}\nThe text: corpus '{settings.config.data.corpus}'. Stop with Ctrl-C at any time.\n")
    summary = train_run(settings, run)
    if summary["status"] == "stopped":
        tell_what_next(run, summary)
        return 130
    show(run, summary, settings.config.train.device)
    return 0


def parse(argv: list[str]) -> tuple[Namespace, Settings]:
    """The command's arguments, and the settings they come to."""
    own, overrides = split_overrides(argv)
    parser = OptionParser("inn demo", USAGE, "Train, evaluate and sample a small graph; the text needs no download.")
    parser.option("--run", help="The folder of the run; default: the first free one of runs/demo, runs/demo-2, ...")
    parser.flag("--json", "Train only, and print the summary as one JSON object; progress goes to stderr.")
    args = with_settings(parser, ["demo", *own], overrides).parse(own)
    return args, resolve("demo", overrides)


def free_run() -> str:
    """The first of runs/demo, runs/demo-2, ... that does not exist."""
    names = ("runs/demo" if i == 1 else f"runs/demo-{i}" for i in count(1))
    return next(name for name in names if not Path(name).exists())


def show(run: str, summary: dict[str, Any], device: str) -> None:
    """What was learned, on text the model has never seen, the page of its neurons, and what to try next."""
    from inn.cli.display import reporting, tell_look, write_look
    from inn.explorer.look import default_out
    from inn.inference.floors import compressor_bits, compressors
    from inn.inference.held_out import evaluate_run
    from inn.models.inn import INN
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    with reporting() as report:
        facts = evaluate_run(run, "test", device=device, report=report)
    model, dataset = load_with_data(run)
    decode = dataset.vocabulary.decode
    texts = decode(dataset.train), decode(dataset.test), len(dataset.test)
    found = {name: compressor_bits(name, *texts) for name in compressors()}
    pieces = model.generate(PROMPT, SAMPLE, temperature=0.7, seed=1, unknown="skip")
    text = PROMPT + "".join(pieces)
    Run(run).log_sample(summary["step"], text)

    unit = facts["unit"]
    rows = {
        **facts["floors"],
        "xz": found["xz"]["alone"],
        **{f"{name} that has read the training text": bits["primed"] for name, bits in found.items()},
        f"this {summary['config']['model']['kind']}": facts["bits"],
    }
    width = max(map(len, rows))
    out = console()
    out.print(f"\nHeld-out text: {facts['count']:,} {unit}s it has never seen, in bits per {unit}", style="bold")
    for name, bits in rows.items():
        out.print(f"  {name:<{width}}  {bits:6.3f}", style="bold" if name.startswith("this ") else "")
    out.print("\nText it generates at temperature 0.7", style="bold")
    out.print("  " + "\n  ".join(text.splitlines()), soft_wrap=True)
    out.print("\nWhat was learned", style="bold")
    for sentence in lessons(rows, facts, Run(run).metrics(), summary):
        out.print(f"  {sentence}", soft_wrap=True)
    if isinstance(model, INN):
        out.print("\nWhat its neurons do", style="bold")
        command = shlex.join(["inn", "look", run, "--live"])
        tell_look(write_look(run, None, default_out(run), command, live=True, plainly=True))
    out.print("\nWhat to try next", style="bold")
    named = shlex.quote(run)
    ideas = {
        f"inn play {named}": "type, watch the neurons, silence some",
        f"inn analyze {named}": "what each neuron encodes, and its ablation",
        f"inn generate {named} --prompt 'A class '": "generate text",
        "inn train demo --run runs/lstm --model.kind lstm": "a baseline of the same size, on the same text",
        "inn train demo --run runs/silent --model.router none": "the same neurons without messages",
        "inn train demo --run runs/mine --data.corpus file:PATH": "your own text",
        "inn info text8-paper": "the published model",
    }
    width = max(map(len, ideas))
    for command, why in ideas.items():
        out.print(f"  {command:<{width}}  {why}", soft_wrap=True)


def lessons(
    rows: dict[str, float], facts: dict[str, Any], metrics: list[dict[str, Any]], summary: dict[str, Any]
) -> list[str]:
    """What the numbers say, in sentences."""
    bits, unit = facts["bits"], facts["unit"]
    sentences = [f"Perplexity per {unit}: {facts['perplexity']:.1f} (vocabulary {2 ** rows['uniform']:.0f})."]
    beaten = [name for name, floor in rows.items() if floor > bits]
    unbeaten = [name for name, floor in rows.items() if floor < bits]
    if beaten:
        sentences.append(f"It predicts better than {', '.join(beaten)}.")
    if unbeaten:
        sentences.append(f"It does not reach {', '.join(unbeaten)}: train it longer (--train.symbols), or larger.")
    sizes = [line["effective_neurons"] for line in metrics if line.get("effective_neurons") is not None]
    neurons = summary["config"]["model"].get("neurons")
    if sizes and neurons:
        sentences.append(
            f"Effective number of neurons: {sizes[-1]:.1f} of {neurons} (1: all alike, {neurons}: all unrelated)."
        )
    return sentences
