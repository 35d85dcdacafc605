"""`inn eval`: how well a run predicts held-out text, beside what tables of counts make of the same text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, measure, one_of, print_json
from inn.config.parser import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.data.prepare import Dataset
    from inn.data.size import TextSize
    from inn.inference.evaluate import Score
    from inn.models.sequence import SequenceModel

USAGE = "inn eval RUN [--split valid|test|train] [--streams K | --window W] [--limit N] [--json]"


def main(argv: list[str]) -> int:
    """Run `inn eval`."""
    args = parse(argv)
    facts = score(args.run, args.split, args.streams, args.limit, args.device, args.dtype, args.window)
    if args.json:
        print_json(facts)
    else:
        show(facts)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn eval", USAGE, "Score a run: every symbol after the first, once, the state carried.")
    parser.positional("run", "A run directory.")
    parser.option("--split", default="valid", help="The part of the run's corpus to score: train, valid or test.")
    parser.option("--streams", type=int, default=1, help="Parts read side by side: faster; 1 is one strict stream.")
    parser.option(
        "--window",
        type=int | None,
        help="Start afresh every W symbols, as lm-evaluation-harness does; carried on if not.",
    )
    parser.option("--limit", type=int | None, help="Score the first N symbols only.")
    parser.option("--device", default="auto", help="auto, cpu, cuda (or cuda:1, ...) or mps.")
    parser.option("--dtype", default="float32", help="float32, or bfloat16 (under autocast).")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    one_of("--split", args.split, "train", "valid", "test")
    one_of("--dtype", args.dtype, "float32", "bfloat16")
    if args.limit is not None and args.limit < 2:
        raise InputError(f"--limit must be at least 2, not {args.limit}")
    if args.streams < 1:
        raise InputError(f"--streams must be at least 1, not {args.streams}")
    if args.window is not None and args.window < 1:
        raise InputError(f"--window must be at least 1, not {args.window}")
    if args.window is not None and args.streams > 1:
        raise InputError("--streams carries the state on and --window starts it afresh; leave one of them out")
    return args


def score(
    run: str,
    split: str = "valid",
    streams: int = 1,
    limit: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    window: int | None = None,
) -> dict[str, Any]:
    """The score of a run on a part of its corpus, with the floors, as plain data.

    With `window`, as `inn.inference.evaluate_windows` has it: every symbol is scored, the first from what an empty
    prompt starts with (`start_symbol`).
    """
    from inn.cli.display import working
    from inn.data.size import scored_size
    from inn.inference.evaluate import evaluate, evaluate_windows
    from inn.inference.floors import floors
    from inn.models.generate import start_symbol
    from inn.system.device import resolve_device

    where = resolve_device(device)
    model, dataset = load_with_data(run)
    model.to(where)
    symbols = dataset.split(split)[:limit]
    vocabulary = dataset.vocabulary
    start = None if window is None else start_symbol(vocabulary)
    with working("scoring") as report:
        if window is None or start is None:
            result = evaluate(model, symbols, streams=streams, device=where, dtype=dtype, progress=report)
        else:
            result = evaluate_windows(model, symbols, window, start, device=where, dtype=dtype, progress=report)
    metric = vocabulary.metric
    return {
        "run": run,
        "corpus": dataset.name,
        "split": split,
        **of_the_text(result, scored_size(dataset, split, symbols, first=window is not None)),
        metric.lower(): measure(result.bits, metric),
        "metric": metric,
        "unit": vocabulary.unit,
        "nats": result.nats,
        "bits": result.bits,
        "perplexity": result.perplexity,
        "count": result.count,
        "streams": streams,
        "window": window,
        "start_symbol": start,
        "parameters": model.num_parameters,
        "floors": floors(dataset.train, symbols, vocabulary.size),
        "data_sha256": dataset.sha256,
    }


def of_the_text(result: Score, size: TextSize | None) -> dict[str, Any]:
    """The score in measures of the text itself, comparable whatever the symbols were.

    Bits per byte (`bpb`) and per character (`bpc`), and the perplexity per word that the prediction of its letters and
    white space comes to, line ends counted as words (`ppl`); None each where the text's size is not known.
    """
    from inn.inference.evaluate import Score

    counts = {"bpb": size and size.bytes, "bpc": size and size.characters, "ppl": size and size.words}
    parts = {name: Score(result.nats_total, count) if count else None for name, count in counts.items()}
    return {
        **{name: part and (part.perplexity if name == "ppl" else part.bits) for name, part in parts.items()},
        "text": size and asdict(size),
    }


def load_with_data(run: str) -> tuple[SequenceModel, Dataset]:
    """A run's model and the corpus it was trained on; raises `InputError` where that is no longer the same text."""
    from inn.cli.display import fetching
    from inn.data.prepare import prepare
    from inn.runs.directory import Run
    from inn.runs.load import load

    config = Run(run).config()
    model = load(run)
    with fetching() as report:
        dataset = prepare(config.data, Run(run).given_vocabulary(), report=report)
    if model.vocabulary is not None and dataset.vocabulary != model.vocabulary:
        raise InputError(
            f"corpus '{config.data.corpus}' has other symbols here than the text that run '{run}' was trained on; "
            "restore that text, or train again"
        )
    return model, dataset


def show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    out, metric = console(), facts["metric"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"{facts['corpus']}, {facts['split']}")
    table.add_column(metric, justify="right")
    digits = 1 if metric == "PPL" else 3
    for name, bits in facts["floors"].items():
        table.add_row(name, f"{measure(bits, metric):,.{digits}f}", style="dim")
    table.add_row(facts["run"], f"{facts[metric.lower()]:,.{digits}f}", style="bold")
    out.print(table)
    afresh = f", the state fresh every {facts['window']:,}" if facts["window"] else ""
    out.print(f"{facts['count']:,} {facts['unit']}s scored{afresh}, {facts['nats']:.4f} nats each")
    if facts["bpb"] is not None and facts["ppl"] is not None:
        words = f"{facts['ppl']:,.1f} perplexity per word ({facts['text']['words']:,} words, line ends among them)"
        out.print(
            f"of the text: {facts['bpb']:.3f} bits per byte, {facts['bpc']:.3f} per character, {words}", soft_wrap=True
        )
    elif facts["text"] is None:
        out.print("of the text: no bits per byte, for its symbols do not spell all of it, or it is no longer here")
