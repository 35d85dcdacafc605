"""`inn compress`: a trained model made smaller, its projections turned into neuronal states that groups share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import JSON_HELP, console, print_json
from inn.cli.compress_spikes import of_spikes, show_spikes
from inn.config.parser import OptionParser
from inn.system.errors import InputError

USAGE = (
    "inn compress MODEL --calibrate FILE --out DIR [--keep 0.8] "
    "[--plan auto|neurons|heads|svd-llm|basis-sharing|qkv-ug-d|...] | RUN --spikes K --out DIR"
)


def main(argv: list[str]) -> int:
    """Run `inn compress`."""
    from inn.cli.display import reporting
    from inn.runs.load import is_inn

    args = parse(argv)
    if Path(args.out).exists():
        raise InputError(f"'{args.out}' exists already; give a new folder")
    with reporting() as report:
        make = of_spikes if args.spikes is not None else of_inn if is_inn(Path(args.model)) else of_decoder
        if args.calibrate is None and args.spikes is None:
            if not (Path(args.model) / _SIZES).is_file():
                raise InputError(f"--calibrate is missing: {USAGE}")
            make = of_sizes
        found = make(args, report)
    found["out"] = str(Path(args.out))
    if args.json:
        print_json(found)
    elif args.spikes is not None:
        show_spikes(found)
    elif "before" not in found:
        console().print(f"wrote {found['out']}: {found['parameters']:,} parameters", soft_wrap=True)
    else:
        _print(found)
    return 0


def parse(argv: list[str]) -> Namespace:
    """The command's arguments."""
    parser = OptionParser(
        "inn compress",
        USAGE,
        "Make a trained model smaller: neurons and ranks go where they are needed least.",
    )
    parser.positional(
        "model", "A Hugging Face decoder (a folder, a GGUF file, a name in its cache), or a run of an INN."
    )
    parser.option("--calibrate", help="A text file like those the model is for; its outputs there are preserved.")
    parser.option("--out", help="The folder to write; must be new.")
    parser.option(
        "--keep", type=float | None, help="Share of the projections' parameters to keep, in (0, 1]: 0.8; of an INN 0.6."
    )
    parser.option(
        "--also", help="Smaller shares that the folder holds too, 0.5,0.3; --keep 0.5 then takes one out of it."
    )
    parser.option("--plan", help="A plan by name, or a topology such as qkv-ug-d; default: auto.")
    parser.option("--roles", help="Compress only these projections: qkv, or qk{in_proj} for those without letters.")
    parser.option(
        "--rows", type=int | None, help="Blocks of the text to calibrate on; default: all it has, 128 at most."
    )
    parser.option("--length", type=int, default=512, help="Symbols per block, and per window that is scored.")
    parser.option("--evaluate", help="A text file to score; default: the last tenth of the calibration text.")
    parser.option("--windows", type=int, default=16, help="Maximum number of windows to score.")
    parser.option("--heal", help="A text file on which the result then learns from the dense model.")
    parser.option("--minutes", type=float | None, help="Of healing: for so long (default: 10).")
    parser.option("--recipe", help="Of healing: distil (default), layers-first, or ngc, the NGC authors' fine-tuning.")
    parser.option(
        "--tune",
        type=int,
        default=0,
        help="So many passes of --recipe ngc over as many blocks of the calibration text.",
    )
    parser.flag("--dense", "Write dense layers that compute the same, for converters (GGUF) and others; not smaller.")
    parser.option(
        "--bits",
        type=int | None,
        help="Round all weights of the folder to 2 to 8 bits, states too; with --keep 1 nothing else is done.",
    )
    parser.option(
        "--dtype",
        default="auto",
        help="Type of computation and output: auto (the model's), float32, bfloat16, float16.",
    )
    parser.option("--device", default="auto", help="auto, cpu or cuda (or cuda:1, ...).")
    parser.flag("--stream", "Hold one layer at a time: for models larger than memory; reads a folder's safetensors.")
    parser.flag("--chat", "Read every block as a user's message, in the model's chat template.")
    parser.option("--seed", type=int, default=0, help="Seed that draws the blocks.")
    parser.option(
        "--spikes", type=float | None, help="Of a run: maps read counts of spikes, K for a number of mean size; try 2."
    )
    parser.option("--spike-code", help="How counts are sent: binary, ternary (default), bitwise or complement.")
    parser.flag("--json", JSON_HELP)
    args = parser.parse(argv)
    if args.spikes is None and args.spike_code is not None:
        raise InputError("--spike-code is of --spikes; give that too, or leave it out")
    if args.spikes is not None and (other := _given(args, "keep", "rows", *_OF_DECODERS)):
        raise InputError(f"--spikes leaves the weights as they are; leave out --{other}, or compress the result again")
    for name in ("calibrate", "out"):
        if getattr(args, name) is None and (name == "out" or (args.spikes is None and args.keep is None)):
            raise InputError(f"--{name} is missing: {USAGE}")
    for name in ("rows", "length", "windows"):
        given = getattr(args, name)
        if given is not None and given < (2 if name == "length" else 1):
            raise InputError(f"--{name} must be at least {2 if name == 'length' else 1}, not {given}")
    if args.heal is None and (other := _given(args, "minutes", "recipe")):
        raise InputError(f"--{other} is of --heal; give that too, or leave it out")
    if args.tune and args.heal is not None:
        raise InputError("--tune and --heal are two ways to say the same; give one of them")
    if args.minutes is not None and not args.minutes > 0:
        raise InputError(f"--minutes must be above 0, not {args.minutes:g}")
    return args


def of_decoder(args: Namespace, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Compress a decoder of Hugging Face's; what was kept, lost and measured."""
    from inn.compress.calibrate import ROWS
    from inn.compress.pipeline import run

    return run(
        args.model,
        args.calibrate,
        args.out,
        args.plan or "auto",
        0.8 if args.keep is None else args.keep,
        roles=args.roles,
        also=_shares(args.also),
        rows=args.rows,
        length=args.length,
        seed=args.seed,
        evaluate=args.evaluate,
        windows=args.windows,
        heal_on=args.calibrate if args.tune else args.heal,
        minutes=10.0 if args.minutes is None else args.minutes,
        steps=args.tune * (args.rows or ROWS) or None,
        recipe="ngc" if args.tune else args.recipe or "distil",
        dense=args.dense,
        bits=args.bits,
        dtype=args.dtype,
        device=args.device,
        chat=args.chat,
        stream=args.stream,
        report=report,
        announce=lambda coverage: None if args.json else console().print(str(coverage), soft_wrap=True),
    )


def of_sizes(args: Namespace, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """A smaller size that a folder holds, as a folder of its own; nothing is measured."""
    from inn.compress.pipeline import take_size

    if other := _given(args, "rows", "evaluate", *(name for name in _OF_DECODERS if name not in ("dtype", "device"))):
        raise InputError(f"a size is taken out of a folder as it is there; leave out --{other}, or give --calibrate")
    return {"keep": args.keep, "parameters": take_size(args.model, args.out, args.keep, args.dtype, args.device)}


def _shares(text: str | None) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InputError(f"--also takes shares between commas, such as 0.5,0.3, not '{text}'") from None


def of_inn(args: Namespace, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """The same for an INN, whose neurons come to share the states of what they read."""
    from inn.compress.calibrate import rows_of
    from inn.compress.measure import bytes_of, described, size_of_inn
    from inn.compress.pipeline import texts
    from inn.hf.export import write
    from inn.hf.model import INNForCausalLM
    from inn.inference.evaluate import evaluate
    from inn.models.inn import INN
    from inn.runs.beside import carry
    from inn.runs.exported import home_of
    from inn.runs.load import load
    from inn.surgery.communal import communal
    from inn.system.files import new_folder

    if _given(args, *_OF_DECODERS):
        raise InputError(
            "--plan, --roles, --also, --heal, --dense and --bits are for decoders of Hugging Face's, and so are "
            "--dtype, --device, --chat and --stream; an INN is one group"
        )
    before, keep = load(args.model), 0.6 if args.keep is None else args.keep
    if not isinstance(before, INN) or before.vocabulary is None:
        raise InputError(f"'{args.model}' is no INN with a vocabulary; only its neurons can share states")
    text, scored = texts(args.calibrate, args.evaluate, before.vocabulary.encode, args.length, args.windows)
    rows = rows_of(text, args.rows, args.length, args.seed)
    after, lost = communal(before, rows, keep, report=partial(report, "compressing"))
    models = {"before": before, "after": after}
    scores = {when: evaluate(m, scored.numpy(), progress=partial(report, "scoring")) for when, m in models.items()}
    sizes = {when: size_of_inn(m, lost) for when, m in models.items()}
    found = {
        "model": args.model,
        "keep": keep,
        "groups": [{"blocks": [path], "rank": after.config.communal_states} for path in lost],
        "lost": lost,
        "left_dense": [],
        "scored_symbols": scores["before"].count,
        **{when: described(m, sizes[when], scores[when], bytes_of(m), rows[0]) for when, m in models.items()},
    }
    with new_folder(Path(args.out)) as folder:
        write(INNForCausalLM.wrap(after), folder, home_of(args.model))
        carry(args.model, folder)
    return found


_SIZES = "nested.safetensors"
"""What a folder of several sizes holds (`inn.compress.nested`, which takes a second to import)."""
_OF_DECODERS = ("plan", "roles", "also", "heal", "tune", "dense", "bits", "dtype", "device", "chat", "stream")
_DEFAULTS = {"tune": 0, "dense": False, "dtype": "auto", "device": "auto", "chat": False, "stream": False}


def _given(args: Namespace, *names: str) -> str | None:
    """The first of these options that has another value than its default."""
    return next((name for name in names if getattr(args, name) != _DEFAULTS.get(name)), None)


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
        ("megabytes of weights on disk", "megabytes", "{:,.1f}"),
        ("symbols per second, generating", "symbols_per_second", "{:,.1f}"),
        ("perplexity", "perplexity", "{:,.2f}"),
        ("bits per symbol", "bits", "{:,.3f}"),
    ):
        if key not in before:  # the speed of a model that is larger than memory
            continue
        share = after[key] / before[key] if before[key] else math.nan
        table.add_row(name, shown.format(before[key]), shown.format(after[key]), f"{share:.3f}")
    tell.print(table)
    scored = f"scored on {found['scored_symbols']:,} symbols"
    if "plan" not in found:  # an INN
        maps, rank = len(found["groups"]), found["groups"][0]["rank"]
        tell.print(f"{maps} maps of the population, {rank} numbers per neuronal state; {scored}", soft_wrap=True)
        tell.print(f"wrote {found['out']}; `inn generate` and `inn.load` open it", soft_wrap=True)
        return
    if found["bits"] is not None:
        tell.print(f"all matrices rounded to {found['bits']} bits, in groups of 32 with a scale each", soft_wrap=True)
    together = sum(len(group["blocks"]) > 1 for group in found["groups"])
    blocks = sum(len(group["blocks"]) for group in found["groups"])
    dense = f", {len(found['left_dense'])} left dense" if found["left_dense"] else ""
    for reader, what in (("d", "MLPs with fewer neurons"), ("o", "layers with fewer heads")):
        if kept := [group["kept"] for group in found["neurons"] if group["blocks"][0].startswith(reader)]:
            tell.print(f"{len(kept)} {what}, from {min(kept):,} to {max(kept):,}", soft_wrap=True)
    tell.print(
        f"{blocks} projections in {len(found['groups'])} groups, {together} of them shared{dense}; {scored}",
        soft_wrap=True,
    )
    for one in found["also"]:
        tell.print(f"at {one['keep']:g}: {one['parameters']:,} parameters, perplexity {one['perplexity']:,.2f}")
    if found["healed"]:
        tell.print(f"{found['healed']['said']}; unhealed perplexity {found['healed']['unhealed']:,.2f}", soft_wrap=True)
    if after["megabytes"] > 1.01 * before["megabytes"]:
        worse = ", and worse" if after["perplexity"] > before["perplexity"] else ""
        sizes = f"{after['megabytes']:,.1f} against {before['megabytes']:,.1f} MB"
        tell.print(
            f"It is larger than what it was made of{worse}: {sizes}.",
            "Numbers of a few bits (GGUF) become ones of 16, and --dtype float32 makes them wider.",
            soft_wrap=True,
        )
    opens = (
        "opens it" if found["plain"] else "opens it after `import inn.compress.folder`, or where its code is trusted"
    )
    tell.print(f"wrote {found['out']}; transformers {opens}", soft_wrap=True)
