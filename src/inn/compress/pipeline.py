"""From a trained decoder and a text to a smaller decoder: open, draw rows, compress, heal, score, save.

`run` is all of it, from files to a folder, as `inn compress` does it. The steps can be called by themselves:
`open_decoder`, `texts`, `rows_of`, `compress`, `heal`, `score`, `save`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import inn.compress.run
from inn.compress.blocks import find_blocks, neuronal, weight_of
from inn.compress.caching import compress_cache, pairs_of
from inn.compress.calibrate import rows_of
from inn.compress.decoder import DTYPES, NO_FRAME, Frame, encoder, find_decoder, frame_of, open_decoder, weight_bytes
from inn.compress.healing import RECIPES, heal
from inn.compress.inputs import Rows
from inn.compress.latent import attentions_of
from inn.compress.layerwise import score_by_layer
from inn.compress.measure import described, score, size
from inn.compress.nested import at_size, nest
from inn.compress.nested import save as save_sizes
from inn.compress.neurons_layers import widths_of
from inn.compress.passes import StageReport
from inn.compress.plans import CompressionPlan, named_plan
from inn.compress.run import Coverage, Outcome
from inn.compress.shelf import open_shelved, shelf_of
from inn.compress.topologies import Block
from inn.data.text import file_symbols
from inn.runs.beside import ABOUT_TEXT, GENERATION, carry
from inn.system.device import quick_products, resolve_device
from inn.system.errors import InputError, lookup
from inn.system.files import new_folder

BESIDE = (
    *ABOUT_TEXT, GENERATION, "chat_template.json", "tokenizer.model", "preprocessor_config.json",
    "processor_config.json", "video_preprocessor_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE",
)  # fmt: skip
"""What goes along with a model beside its weights, its configuration and what its tokenizer writes."""
CACHE = "cache"
"""The plan that makes the cache of keys and values smaller, by a share of its numbers."""
HELD_OUT = 0.1
"""Share of the calibration text, at its end, that is scored where no other text is given."""


def run(
    model: str | Path,
    calibrate: str | Path,
    out: str | Path,
    plan: str = "auto",
    keep: float = 0.8,
    *,
    roles: str | Iterable[str] | None = None,
    rows: int | None = None,
    length: int = 512,
    seed: int = 0,
    evaluate: str | Path | None = None,
    windows: int = 16,
    also: Sequence[float] = (),
    heal_on: str | Path | None = None,
    minutes: float = 10.0,
    steps: int | None = None,
    recipe: str = "distil",
    dense: bool = False,
    bits: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    chat: bool = False,
    stream: bool = False,
    report: StageReport = lambda what, done, of: None,
    announce: Callable[[Coverage], None] = lambda coverage: None,
) -> dict[str, Any]:
    """Compress a decoder of Hugging Face's and write it, wholly or not at all, as a folder.

    In memory is the model, in `dtype`, and what one layer of it takes; what healing takes, see `heal`; with `stream`
    one layer in place of the model.

    Args:
        model: a folder, a GGUF file, or a name, see `find_decoder`.
        calibrate: a text file of the kind the model is for.
        out: the folder to write.
        plan, keep, roles: see `inn.compress.run.compress`; plan `cache` is `inn.compress.caching.compress_cache`.
        rows, length, seed: the stretches of the text that it is calibrated on, see `rows_of`.
        evaluate, windows: the text to score, and how many windows of `length` symbols of it, see `texts`.
        also: smaller shares that the folder can be opened at, too, see `inn.compress.nested.nest`.
        heal_on: a text file that the compressed model is healed on; None for no healing. An interrupted one goes on
            when the same is called again: its state is kept beside `out`, in `.NAME.healing`.
        minutes, steps, recipe: for how long, or how many steps in place of that, and how, see `heal`.
        dense: write dense layers that compute the same.
        bits: round all matrices of the result, see `inn.compress.rounded`; with `keep` 1 nothing else is done.
        dtype: of what is computed with and written; `auto` for the source's, see `open_decoder`.
        device: `auto`, `cpu`, `cuda`, ...
        chat: read every stretch as a user's message, in the model's chat template.
        stream: read layers from the folder's safetensors as they are needed, and write each as soon as it is compressed
            (`inn.compress.shelf`). A plan that weighs errors by gradients of the whole model, as `auto` does, weighs
            them by moments then; how fast the model writes is not measured.
        report: called with `compressing`, `healing` or `scoring`, how much of it is done, and how much there is.
        announce: called with what the plan covers and leaves out, before work starts.

    Returns what was kept, lost and measured, as plain data; megabytes are those of the weights on the disk, and `plain`
    says whether the folder is an ordinary one of its architecture.

    Raises `InputError` as the steps do, where every projection had better stay dense, and for `bits` with `dense`.

    Example: ``run("path/to/model", "text.txt", "smaller", keep=0.5)``
    """
    from inn.compress.folder import round_to

    lookup("dtype", dtype, dict.fromkeys(("auto", *DTYPES)))
    lookup("recipe", recipe, RECIPES)
    there, on = find_decoder(model), _device(device)
    how = named_plan("kv") if plan == CACHE else named_plan(plan, (CACHE,))
    if heal_on is not None and recipe == "ngc" and (how.topology == "none" or (bits is not None and keep == 1)):
        made = f"plan '{plan}'" if how.topology == "none" else "--keep 1"
        raise InputError(
            f"--tune and recipe 'ngc' train neuronal groups, and {made} makes none; use --heal with another recipe"
        )
    if bits is not None and dense:
        raise InputError("dense layers of few bits are no ordinary ones; leave out --dense, or --bits")
    if plan == CACHE and roles is not None:
        raise InputError("plan 'cache' is of keys and values; leave out --roles")
    whole = {"--heal": heal_on, "--dense": dense, "--bits": bits, "--plan cache": plan == CACHE}
    if also:
        _check_sizes(also, keep, {**whole, "--stream": stream, "--roles": roles})
    if stream:
        how = _streamed(there, how, whole)
    with new_folder(Path(out)) as folder:
        made, tokenizer = open_shelved(there, folder, dtype, on) if stream else open_decoder(there, dtype, on)
        frame = frame_of(tokenizer, chat)
        text, scored = texts(calibrate, evaluate, encoder(tokenizer), length, windows, frame)
        lessons = None if heal_on is None else torch.as_tensor(file_symbols(heal_on, encoder(tokenizer)))
        blocks = find_blocks(made)
        if plan == CACHE:
            pairs_of(made)
            attentions_of(made)  # there is nothing to win where no cache keeps the states
        drawn = rows_of(text, rows, length, seed, frame)
        numbers = {block: weight_of(made, p).numel() for block, p in blocks.items()}
        counted = score_by_layer if stream else score

        def measured(named: Iterable[Block], bytes: int) -> dict[str, Any]:
            scores = counted(made, scored, length, partial(report, "scoring"), frame)
            prompt = None if stream else drawn[0]
            return {"scored": scores.count, **described(made, size(made, blocks, named), scores, bytes, prompt)}

        covered = inn.compress.run.coverage(made, drawn, how, keep, roles)
        announce(covered)
        before = measured((), weight_bytes(there))

        def told(what: str, done: int, of: int) -> None:
            report("compressing", done, of)

        if bits is not None and keep == 1:
            outcome = Outcome(coverage=covered)
        elif plan == CACHE:
            with quick_products():
                outcome = compress_cache(made, drawn, keep, report=told)
        elif also:
            with quick_products():
                sizes = nest(made, drawn, (keep, *also), plan, report=told)
            outcome = sizes.outcome
        else:
            outcome = compress(made, drawn, how, keep, roles=roles, report=told)
        before["projections"] = sum(numbers[block] for block in outcome.blocks)
        if not (outcome.groups or outcome.neurons or bits):
            raise InputError(f"with --keep {keep:g} every projection had better stay a dense weight; keep less")
        healed = None
        if lessons is not None:
            unhealed = counted(made, scored, length, partial(report, "scoring"), frame).perplexity
            state = Path(out).with_name(f".{Path(out).name}.healing")
            options: dict[str, Any] = {"recipe": recipe, "length": length, "seed": seed, "frame": frame, "state": state}
            with quick_products():
                taught_by = open_decoder(there, dtype, on)[0]
                time = {"minutes": minutes} if steps is None else {"steps": steps}
                found = heal(made, taught_by, lessons, **time, **options, report=partial(report, "healing"))
            healed = {**asdict(found), "recipe": recipe, "said": str(found), "unhealed": unhealed}
        if bits is not None:
            round_to(made, bits)
        save(made, tokenizer, folder, dense=dense)
        after = measured(outcome.blocks, 0)
        smaller = []
        if also:
            save_sizes(sizes, folder)
            for part in sizes.readers:
                one = at_size(copy.deepcopy(made), folder, part)
                found = score(one, scored, length, partial(report, "scoring"), frame)
                numbers_of = size(one, blocks, outcome.blocks).total
                smaller.append({"keep": part, "parameters": numbers_of, "perplexity": found.perplexity})
        if there.is_dir():
            carry(there, folder, BESIDE)
        after["megabytes"] = weight_bytes(folder) / 1e6
    symbols = [side.pop("scored") for side in (before, after)]
    return {
        "model": str(model),
        "plan": plan,
        "weigh": how.weigh,
        "keep": keep,
        "also": smaller,
        "healed": healed,
        "dense": dense,
        "plain": not (widths_of(made) or bits or any(True for _ in neuronal(made))),
        "bits": bits,
        "dtype": str(made.dtype).removeprefix("torch."),
        "coverage": asdict(outcome.coverage),
        "groups": [{"blocks": [str(b) for b in group], "rank": rank} for group, rank in outcome.groups],
        "neurons": [{"blocks": [str(b) for b in group], "kept": kept} for group, kept in outcome.neurons],
        "lost": {str(block): share for block, share in outcome.lost.items()},
        "left_dense": [str(block) for block in outcome.dense],
        "scored_symbols": symbols[0],
        "before": before,
        "after": after,
    }


def take_size(folder: str | Path, out: str | Path, keep: float, dtype: str = "auto", device: str = "auto") -> int:
    """Write a smaller size that a folder holds (`run`'s `also`) as a folder of its own; its number of parameters.

    Nothing is calibrated or measured. Raises `InputError` for a size that is not there.
    """
    there = find_decoder(folder)
    made, tokenizer = open_decoder(there, dtype, _device(device))
    at_size(made, there, keep)
    with new_folder(Path(out)) as new:
        save(made, tokenizer, new)
        carry(there, new, BESIDE)
    return sum(p.numel() for p in made.parameters())


def _check_sizes(also: Sequence[float], keep: float, whole: Mapping[str, Any]) -> None:
    """Raise `InputError` for sizes that are none, and for what changes more than what reads the neurons."""
    for part in also:
        if not 0 < part < keep:
            raise InputError(f"--also takes shares above 0 and below --keep {keep:g}, not {part:g}")
    for name in (name for name, given in whole.items() if given):
        raise InputError(f"{name} would not be the same for every size of a folder; leave out {name}, or --also")


def _streamed(there: Path, plan: CompressionPlan, whole: Mapping[str, Any]) -> CompressionPlan:
    """The plan of a model that is never in memory as a whole; `InputError` for what takes all of it at once."""
    if there.is_file():
        raise InputError(f"--stream reads a folder's safetensors, and '{there}' is a file; leave --stream out")
    for name in (name for name, given in whole.items() if given):
        raise InputError(f"{name} takes the whole model at once, which --stream never holds; leave one of them out")
    if plan.heads:
        raise InputError("whether heads can be cut is tried on a model in memory; leave --stream out, or --plan heads")
    if plan.weigh == "gradients":
        raise InputError(
            "this plan weighs by gradients of the whole model, which --stream never holds; use --plan svd-llm"
        )
    return replace(plan, weigh="moments") if plan.weigh == "fisher" else plan


def _device(name: str) -> torch.device:
    """The device of a name; factorising takes float64, which mps lacks."""
    device = resolve_device(name)
    if device.type == "mps":
        if name != "auto":
            raise InputError("device 'mps' has no float64, which factorising takes; use --device cpu")
        return torch.device("cpu")
    return device


def texts(
    calibrate: str | Path,
    evaluate: str | Path | None,
    encode: Callable[[str], Any],
    length: int,
    windows: int,
    frame: Frame = NO_FRAME,
) -> tuple[Tensor, Tensor]:
    """What a model is calibrated on, and what it is scored on, as symbols `[n]` int64.

    Args:
        calibrate: a text file.
        evaluate: another; the last tenth of the first when None.
        encode: what turns a text into symbols.
        length, windows: so many symbols per window are scored, in so many windows at most.
        frame: what is in every window beside the text.

    Raises `InputError` for a file that cannot be read, and where there is not one window to score.
    """
    text = torch.as_tensor(file_symbols(calibrate, encode))
    if evaluate is None:
        at = len(text) - int(len(text) * HELD_OUT)
        text, scored = text[:at], text[at:]
    else:
        scored = torch.as_tensor(file_symbols(evaluate, encode))
    room = frame.room(length)
    if len(scored) < room:
        raise InputError(
            f"the text to score has {len(scored):,} symbols and a window takes {length:,}; "
            "give a longer one by --evaluate, or a smaller --length"
        )
    return text, scored[: windows * room]


def compress(
    model: nn.Module,
    rows: Rows,
    plan: CompressionPlan | str = "auto",
    keep: float = 0.8,
    *,
    roles: str | Iterable[str] | None = None,
    report: StageReport = lambda what, done, of: None,
) -> Outcome:
    """`inn.compress.run.compress`, in place, its products of matrices the fastest that the processor has."""
    with quick_products():
        return inn.compress.run.compress(model, rows, plan, keep, roles=roles, report=report)


def save(model: nn.Module, tokenizer: Any, folder: Path, *, dense: bool = False) -> None:
    """Write a compressed model and its tokenizer into a folder; `dense` merges its layers back first, in place."""
    import inn.compress.folder

    if (shelf := shelf_of(model)) is not None:  # most of it is there already
        shelf.finish()
    elif dense:
        inn.compress.folder.merge(model).save_pretrained(folder)  # type: ignore[operator]
    else:
        inn.compress.folder.save(model, folder)
    tokenizer.save_pretrained(folder)
