"""`inn compress`: a trained model made smaller, its projections turned into neuronal states that groups share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.cli.opening import is_inn, open_decoder, symbols_of
from inn.config.options import OptionParser
from inn.system.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from inn.compress.measure import ModelSize
    from inn.inference.evaluate import Score

Save = Callable[[Path], None]
USAGE = "inn compress MODEL --calibrate FILE --out DIR [--keep 0.8] [--plan auto|svd-llm|basis-sharing|qkv-ug-d|...]"
HELD_OUT = 0.1
"""Share of the calibration text, at its end, that is scored where no other text is given."""


def main(argv: list[str]) -> int:
    """Run `inn compress`."""
    from inn.system.files import atomic_folder

    args = parse(argv)
    out = Path(args.out)
    if out.exists():
        raise InputError(f"'{out}' exists already; give a new folder")
    found, save = (of_inn if is_inn(Path(args.model)) else of_decoder)(args)
    with atomic_folder(out) as folder:
        save(folder)
    found["out"] = str(out)
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser("inn compress", USAGE, "Make a trained model smaller: neuronal states in place of weights.")
    parser.positional("model", "A folder with a decoder of Hugging Face's, a GGUF file, or a run of an INN.")
    parser.option("--calibrate", help="A text file of the kind the model is for; what it does with it is preserved.")
    parser.option("--out", help="The folder to write; must be new.")
    parser.option(
        "--keep", type=float | None, help="Share of the projections' parameters to keep, in (0, 1]: 0.8; of an INN 0.6."
    )
    parser.option("--plan", help="A plan by name, or a topology such as qkv-ug-d; auto when not given.")
    parser.option("--roles", help="Compress only these projections, as letters: qkv, or qkvougd for all.")
    parser.option("--rows", type=int, default=32, help="Stretches of the text to calibrate on.")
    parser.option("--length", type=int, default=512, help="Symbols per stretch, and per window that is scored.")
    parser.option("--evaluate", help="A text file to score; the last tenth of the calibration text when absent.")
    parser.option("--windows", type=int, default=16, help="Windows to score, at most.")
    parser.option("--tune", type=int, default=0, help="Epochs of the NGC authors' fine-tuning, block by block.")
    parser.flag("--dense", "Write dense layers that compute the same, for converters (GGUF) and others; not smaller.")
    parser.option("--seed", type=int, default=0, help="Of the draw of the stretches.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    for name in ("calibrate", "out"):
        if getattr(args, name) is None:
            raise InputError(f"--{name} is missing: {USAGE}")
    for name in ("rows", "length", "windows"):
        if getattr(args, name) < (2 if name == "length" else 1):
            raise InputError(f"--{name} must be at least {2 if name == 'length' else 1}, not {getattr(args, name)}")
    if args.tune < 0:
        raise InputError(f"--tune must be at least 0, not {args.tune}")
    return args


def of_decoder(args: Namespace) -> tuple[dict[str, Any], Save]:
    """Compress a decoder of Hugging Face's; what was kept, lost and measured, and how the result is written."""
    from inn.cli.display import working
    from inn.compress import compress, rows_of
    from inn.compress.blocks import find_blocks
    from inn.compress.measure import score, size
    from inn.system.device import quick_products

    model, tokenizer = open_decoder(args.model)
    plan, keep = args.plan or "auto", 0.8 if args.keep is None else args.keep
    text, held_out = _texts(args, lambda content: tokenizer(content, verbose=False)["input_ids"])
    blocks = find_blocks(model)
    rows = rows_of(text, args.rows, args.length, args.seed)
    dense = copy.deepcopy(model)
    with working("compressing") as report, quick_products():
        outcome = compress(model, rows, plan, keep, roles=args.roles, report=lambda what, done, of: report(done, of))
    if not outcome.groups:
        raise InputError(f"with --keep {keep:g} every projection had better stay a dense weight; keep less")
    if args.tune:
        from inn.compress.tune import tune

        with working("tuning") as report:
            tune(model, dense, rows, args.tune, report=report)
    models = {"before": dense, "after": model}
    with working("scoring") as report:
        scores = {when: score(m, held_out, args.length, report) for when, m in models.items()}
    found = {
        "model": args.model,
        "plan": plan,
        "keep": keep,
        "tuned": args.tune,
        "dense": args.dense,
        "groups": [{"blocks": [str(b) for b in group], "rank": rank} for group, rank in outcome.groups],
        "lost": {str(block): share for block, share in outcome.lost.items()},
        "left_dense": [str(block) for block in outcome.dense],
        **_measured(models, {when: size(m, blocks, outcome.blocks) for when, m in models.items()}, scores, rows[0]),
    }

    def save(folder: Path) -> None:
        import inn.compress.folder

        if args.dense:
            inn.compress.folder.merge(model).save_pretrained(folder)  # type: ignore[operator]
        else:
            inn.compress.folder.save(model, folder)
        tokenizer.save_pretrained(folder)

    return found, save


def of_inn(args: Namespace) -> tuple[dict[str, Any], Save]:
    """The same for an INN, whose neurons come to share the states of what they read."""
    from inn.cli.display import working
    from inn.compress.calibrate import rows_of
    from inn.compress.measure import size_of_inn
    from inn.inference.evaluate import evaluate
    from inn.models.inn import INN
    from inn.runs.load import load
    from inn.surgery.communal import communal

    if args.plan is not None or args.roles is not None or args.tune or args.dense:
        raise InputError("--plan, --roles, --tune and --dense are for decoders of Hugging Face's; an INN is one group")
    model, keep = load(args.model), 0.6 if args.keep is None else args.keep
    if not isinstance(model, INN) or model.vocabulary is None:
        raise InputError(f"'{args.model}' is no INN with a vocabulary; only its neurons can share states")
    text, held_out = _texts(args, model.vocabulary.encode)
    rows = rows_of(text, args.rows, args.length, args.seed)
    with working("compressing") as report:
        small, lost = communal(model, rows, keep, report=report)
    models = {"before": model, "after": small}
    with working("scoring") as report:
        scores = {when: evaluate(m, held_out.numpy(), progress=report) for when, m in models.items()}
    found = {
        "model": args.model,
        "keep": keep,
        "groups": [{"blocks": [path], "rank": small.config.communal_states} for path in lost],
        "lost": lost,
        "left_dense": [],
        **_measured(models, {when: size_of_inn(m, lost) for when, m in models.items()}, scores, rows[0]),
    }

    def save(folder: Path) -> None:
        from inn.hf.export import write
        from inn.hf.model import INNForCausalLM

        write(INNForCausalLM.wrap(small), folder)

    return found, save


def _measured(
    models: Mapping[str, nn.Module], sizes: Mapping[str, ModelSize], scores: Mapping[str, Score], prompt: torch.Tensor
) -> dict[str, Any]:
    """What there is to say of the models `before` and `after`."""
    from inn.compress.measure import writing_speeds

    speeds = writing_speeds(models, prompt[:64])
    return {
        "scored_symbols": scores["before"].count,
        **{
            when: {
                "parameters": s.total,
                "projections": s.projections,
                "embeddings": s.embeddings,
                "without_embeddings": s.total - s.embeddings,
                "flops_per_symbol": s.flops,
                "megabytes": sum(p.numel() * p.element_size() for p in models[when].parameters()) / 1e6,
                "perplexity": scores[when].perplexity,
                "bits": scores[when].bits,
                "symbols_per_second": speeds[when],
            }
            for when, s in sizes.items()
        },
    }


def _texts(args: Namespace, encode: Callable[[str], Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What is calibrated on, and what is scored, as symbols."""
    text = symbols_of(args.calibrate, encode)
    if args.evaluate is None:
        at = len(text) - int(len(text) * HELD_OUT)
        text, held_out = text[:at], text[at:]
    else:
        held_out = symbols_of(args.evaluate, encode)
    if len(held_out) < args.length:
        raise InputError(
            f"the text to score has {len(held_out):,} symbols and a window takes {args.length:,}; "
            "give a longer one by --evaluate, or a smaller --length"
        )
    return text, held_out[: args.windows * args.length]


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    tell, before, after = console(), found["before"], found["after"]
    table = Table(box=None, pad_edge=False)
    for name in ("", "before", "after", "share"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, key, shown in (
        ("parameters", "parameters", "{:,}"),
        ("  projections that were compressed", "projections", "{:,}"),
        ("  embeddings", "embeddings", "{:,}"),
        ("  all but embeddings", "without_embeddings", "{:,}"),
        ("FLOPs per symbol", "flops_per_symbol", "{:,.0f}"),
        ("megabytes of weights", "megabytes", "{:,.1f}"),
        ("symbols per second, writing", "symbols_per_second", "{:,.1f}"),
        ("perplexity", "perplexity", "{:,.2f}"),
        ("bits per symbol", "bits", "{:,.3f}"),
    ):
        share = after[key] / before[key] if before[key] else math.nan
        table.add_row(name, shown.format(before[key]), shown.format(after[key]), f"{share:.3f}")
    tell.print(table)
    scored = f"scored on {found['scored_symbols']:,} symbols"
    if "plan" not in found:  # an INN
        maps, rank = len(found["groups"]), found["groups"][0]["rank"]
        tell.print(f"{maps} maps of the population, {rank} numbers per neuronal state; {scored}", soft_wrap=True)
        tell.print(f"wrote {found['out']}; `inn generate` and `inn.load` open it", soft_wrap=True)
        return
    together = sum(len(group["blocks"]) > 1 for group in found["groups"])
    blocks = sum(len(group["blocks"]) for group in found["groups"])
    dense = f", {len(found['left_dense'])} left dense" if found["left_dense"] else ""
    tell.print(
        f"{blocks} projections in {len(found['groups'])} groups, {together} of them shared{dense}; {scored}",
        soft_wrap=True,
    )
    opens = "opens it" if found["dense"] else "opens it after `import inn.compress.folder`"
    tell.print(f"wrote {found['out']}; transformers {opens}", soft_wrap=True)
