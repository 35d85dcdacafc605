"""From a trained decoder and a text to a smaller decoder: open, draw rows, compress, tune, score, save.

`run` is all of it, from files to a folder, as `inn compress` does it. The steps can be called by themselves:
`open_decoder`, `texts`, `rows_of`, `compress`, `tune`, `score`, `save`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import inn.compress.run
from inn.compress.blocks import find_blocks
from inn.compress.calibrate import rows_of
from inn.compress.decoder import encoder, open_decoder
from inn.compress.measure import compared, score, size
from inn.compress.passes import StageReport
from inn.compress.plans import CompressionPlan
from inn.compress.run import Outcome
from inn.compress.tune import tune
from inn.data.text import file_symbols
from inn.system.device import quick_products
from inn.system.errors import InputError
from inn.system.files import new_folder

HELD_OUT = 0.1
"""Share of the calibration text, at its end, that is scored where no other text is given."""


def run(
    model: str | Path,
    calibrate: str | Path,
    out: str | Path,
    plan: str = "auto",
    keep: float = 0.8,
    *,
    roles: Iterable[str] | None = None,
    rows: int = 32,
    length: int = 512,
    seed: int = 0,
    evaluate: str | Path | None = None,
    windows: int = 16,
    epochs: int = 0,
    dense: bool = False,
    report: StageReport = lambda what, done, of: None,
) -> dict[str, Any]:
    """Compress a decoder of Hugging Face's and write it, wholly or not at all, as a folder.

    Args:
        model: a folder or a GGUF file, see `open_decoder`.
        calibrate: a text file of the kind the model is for.
        out: the folder to write.
        plan, keep, roles: see `inn.compress.run.compress`.
        rows, length, seed: the stretches of the text that it is calibrated on, see `rows_of`.
        evaluate, windows: the text to score, and how many windows of `length` symbols of it, see `texts`.
        epochs: of `tune`; 0 for none.
        dense: write dense layers that compute the same.
        report: called with `compressing`, `tuning` or `scoring`, how much of it is done, and how much there is.

    Returns what was kept, lost and measured, as plain data.

    Raises `InputError` as the steps do, and where every projection had better stay dense.

    Example: ``run("path/to/model", "text.txt", "smaller", keep=0.5)``
    """
    after, tokenizer = open_decoder(model)
    text, scored = texts(calibrate, evaluate, encoder(tokenizer), length, windows)
    blocks = find_blocks(after)
    drawn = rows_of(text, rows, length, seed)
    before = copy.deepcopy(after)
    outcome = compress(
        after, drawn, plan, keep, roles=roles, report=lambda what, done, of: report("compressing", done, of)
    )
    if not outcome.groups:
        raise InputError(f"with --keep {keep:g} every projection had better stay a dense weight; keep less")
    if epochs:
        tune(after, before, drawn, epochs, report=partial(report, "tuning"))
    models = {"before": before, "after": after}
    scores = {when: score(m, scored, length, partial(report, "scoring")) for when, m in models.items()}
    sizes = {when: size(m, blocks, outcome.blocks) for when, m in models.items()}
    found = {
        "model": str(model),
        "plan": plan,
        "keep": keep,
        "tuned": epochs,
        "dense": dense,
        "groups": [{"blocks": [str(b) for b in group], "rank": rank} for group, rank in outcome.groups],
        "lost": {str(block): share for block, share in outcome.lost.items()},
        "left_dense": [str(block) for block in outcome.dense],
        **compared(models, sizes, scores, drawn[0]),
    }
    with new_folder(Path(out)) as folder:
        save(after, tokenizer, folder, dense=dense)
    return found


def texts(
    calibrate: str | Path, evaluate: str | Path | None, encode: Callable[[str], Any], length: int, windows: int
) -> tuple[Tensor, Tensor]:
    """What a model is calibrated on, and what it is scored on, as symbols `[n]` int64.

    Args:
        calibrate: a text file.
        evaluate: another; the last tenth of the first when None.
        encode: what turns a text into symbols.
        length, windows: so many symbols per window are scored, in so many windows at most.

    Raises `InputError` for a file that cannot be read, and where there is not one window to score.
    """
    text = torch.as_tensor(file_symbols(calibrate, encode))
    if evaluate is None:
        at = len(text) - int(len(text) * HELD_OUT)
        text, scored = text[:at], text[at:]
    else:
        scored = torch.as_tensor(file_symbols(evaluate, encode))
    if len(scored) < length:
        raise InputError(
            f"the text to score has {len(scored):,} symbols and a window takes {length:,}; "
            "give a longer one by --evaluate, or a smaller --length"
        )
    return text, scored[: windows * length]


def compress(
    model: nn.Module,
    rows: Tensor,
    plan: CompressionPlan | str = "auto",
    keep: float = 0.8,
    *,
    roles: Iterable[str] | None = None,
    report: StageReport = lambda what, done, of: None,
) -> Outcome:
    """`inn.compress.run.compress`, in place, its products of matrices the fastest that the processor has."""
    with quick_products():
        return inn.compress.run.compress(model, rows, plan, keep, roles=roles, report=report)


def save(model: nn.Module, tokenizer: Any, folder: Path, *, dense: bool = False) -> None:
    """Write a compressed model and its tokenizer into a folder; `dense` merges its layers back first, in place."""
    import inn.compress.folder

    if dense:
        inn.compress.folder.merge(model).save_pretrained(folder)  # type: ignore[operator]
    else:
        inn.compress.folder.save(model, folder)
    tokenizer.save_pretrained(folder)
