"""`inn stability`: how models of any kind forget a disturbance; dense against compressed, or one during training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, is_run, law, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError
from inn.system.files import check_figure

if TYPE_CHECKING:
    import torch
    from torch import nn

    from inn.compress.decoder import Frame

USAGE = "inn stability MODEL [MODEL ...] [--text FILE] [--blocks 8] [--length 256] [--plot FILE.png] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn stability`."""
    args = parse(argv)
    if args.text is None and not all(map(on_task, args.models)):
        raise InputError(f"--text is missing: {USAGE}")
    found = {name: measured(name, args) for name in args.models}
    shown = dict(zip(short_names(args.models), found.values(), strict=True))
    if args.plot is not None:
        plot(shown, args.plot)
    if args.json:
        print_json(found)
        return 0
    show(shown)
    if args.plot is not None:
        console().print(f"wrote {args.plot}", soft_wrap=True)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn stability", USAGE, "Perturb a symbol's embedding; measure decay and growth.")
    parser.positional("models", "Runs, checkpoints, exported folders, Hugging Face decoders.", many=True)
    parser.option(
        "--text",
        help="A text file, in each model's own symbols; not of runs of tasks.",
    )
    parser.option("--blocks", type=int, default=8, help="Blocks spread over the text; intervals are over blocks.")
    parser.option("--length", type=int, default=256, help="Symbols per block; the one at a quarter is perturbed.")
    parser.option("--seed", type=int, default=0, help="Seed of the directions of the perturbations.")
    parser.option("--plot", help="Draw the curves into this file: .png, .svg or .pdf.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    if not args.models:
        raise InputError(f"MODEL is missing: {USAGE}")
    if len(set(args.models)) < len(args.models):
        raise InputError("a model is given twice; name each once")
    for name in ("blocks", "length"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, not {getattr(args, name)}")
    if args.plot is not None:
        check_figure(args.plot)
    return args


def measured(name: str, args: Namespace) -> dict[str, Any]:
    """`inn.analysis.stability` of one model on blocks spread over the text."""
    import torch

    from inn.analysis.runs import blocks_of
    from inn.analysis.stability.measure import stability
    from inn.runs.load import load_with_data

    if args.text is None:
        model, dataset = load_with_data(name)
        found = blocks_of(dataset, "valid", torch.device("cpu"), args.blocks, args.length)
        return stability(model, found, seed=args.seed)
    model, symbols, frame = _open(name, args.text)
    if len(symbols) < args.blocks * args.length:
        raise InputError(
            f"{args.text} has {len(symbols):,} symbols for '{name}', and {args.blocks} blocks of {args.length} need "
            f"{args.blocks * args.length:,}; give a longer text, or fewer or shorter blocks"
        )
    step = len(symbols) // args.blocks
    blocks = symbols[: args.blocks * step].view(args.blocks, step)[:, : frame.room(args.length)]
    return stability(model, frame.around(blocks), seed=args.seed)


def on_task(name: str) -> bool:
    """Whether a name is that of a run whose data is a task."""
    from inn.runs.directory import Run

    return is_run(name) and not Run(name).config().data.text


def _open(name: str, text: str) -> tuple[nn.Module, torch.Tensor, Frame]:
    """A model, the text in its symbols, and what it begins every text with."""
    import torch

    from inn.compress.decoder import NO_FRAME, encoder, frame_of, open_decoder
    from inn.data.text import file_symbols
    from inn.runs.load import is_inn, load

    if is_inn(Path(name)):
        model = load(name)
        if model.vocabulary is None:
            raise InputError(f"'{name}' has no vocabulary to read a text with; give a run")
        return model, torch.as_tensor(file_symbols(text, model.vocabulary.encode)), NO_FRAME
    decoder, tokenizer = open_decoder(name)
    return decoder, torch.as_tensor(file_symbols(text, encoder(tokenizer))), frame_of(tokenizer)


def short_names(names: list[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart.

    >>> short_names(["runs/a/checkpoints/step-1", "runs/b/checkpoints/step-1"])
    ['a/checkpoints/step-1', 'b/checkpoints/step-1']
    """
    parts = [Path(name).parts for name in names]
    for count in range(1, max(map(len, parts)) + 1):
        found = ["/".join(part[-count:]) for part in parts]
        if len(set(found)) == len(found):
            return found
    return names


def plot(found: dict[str, dict[str, Any]], path: str) -> None:
    """Draw what was found."""
    from inn.analysis.stability.plot import draw_stability
    from inn.system.files import write_figure
    from inn.system.packages import require

    figure = require("matplotlib.figure", "--plot", "explore").Figure(figsize=(9, 3.6), layout="constrained")
    draw_stability(found, figure)
    write_figure(figure, Path(path), dpi=120, metadata={"Software": None} if path.endswith(".png") else None)


def show(found: dict[str, dict[str, Any]]) -> None:
    """A table for people, a model per row."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(("model", "decays as", "half-life", "growth per depth", "over time", "drive")):
        table.add_column(head, justify="left" if i < 2 else "right", overflow="fold")
    for name, one in found.items():
        last, exponent, time = one["embedding"][-1], one["depth"]["exponent"], one["time"]
        drive = one["patterns"]["drive"]
        table.add_row(
            name,
            law(last),
            "–" if last["half_life"] is None else f"{last['half_life']:.1f}",
            f"{exponent['mean']:+.3f}",
            "–" if time is None else f"{time['exponents']['mean'][0]:+.4f}",
            f"{drive['mean']:.3f}",
        )
    out, first = console(), next(iter(found.values()))
    out.print(table)
    out.print(
        f"{first['blocks']} blocks of {first['symbols']} symbols, one perturbed by {first['size']:.0%} at "
        f"{first['at']}; half-life in symbols, at the last depth; growth: ln per round or layer; over time: "
        "the largest Lyapunov exponent, of models with a state; drive: how far a state moves at right angles to "
        "the direction of its running mean",
        style="dim",
        soft_wrap=True,
    )
