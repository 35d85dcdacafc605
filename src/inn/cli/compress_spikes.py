"""`inn compress --spikes`: a run whose maps read counts of spikes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from inn.cli.common import console
from inn.system.errors import InputError

_COUNTED = 1024
"""Symbols whose spikes are counted."""


def of_spikes(args: Namespace, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """A run whose maps read counts of spikes: the weights stay, what goes between them becomes coarser."""
    from dataclasses import asdict

    import numpy as np

    from inn.analysis.energy import operations, passage
    from inn.compress.pipeline import texts
    from inn.compress.spikes import spiking
    from inn.data.task_data import TaskData
    from inn.hf.export import write
    from inn.hf.model import INNForCausalLM
    from inn.inference.evaluate import evaluate
    from inn.inference.examples import evaluate_examples
    from inn.models.signal import SignalModel
    from inn.runs.beside import carry
    from inn.runs.exported import home_of, is_exported, save_exported
    from inn.runs.load import is_inn, load, load_with_data
    from inn.system.files import new_folder

    if not is_inn(Path(args.model)):
        raise InputError(f"'{args.model}' is no run of an INN, and --spikes codes what the maps of its neurons read")
    code, most = args.spike_code or "ternary", args.windows * args.length
    if args.calibrate or args.evaluate:
        before, data = load(args.model), None
        if before.vocabulary is None or isinstance(before, SignalModel):
            raise InputError(f"'{args.model}' reads no text; leave out --calibrate and --evaluate")
        file = args.calibrate or args.evaluate
        _, scored = texts(file, args.evaluate, before.vocabulary.encode, args.length, args.windows)
        given, mask = scored[None, :_COUNTED], None
    elif is_exported(Path(args.model)):
        raise InputError(f"'{args.model}' is an exported folder, which has no data; give a text by --evaluate")
    else:
        before, data = load_with_data(args.model)
        (given, mask), scored = passage(data, _COUNTED), data.valid[:most]
    after = spiking(before, args.spikes)
    found: dict[str, Any] = {"model": args.model, "spikes": args.spikes, "spike_code": code}
    for when, model in (("before", before), ("after", after)):
        progress = partial(report, "scoring")
        if isinstance(data, TaskData):
            score = evaluate_examples(model, data.examples("valid"), progress=progress)
        else:
            score = evaluate(model, np.asarray(scored), progress=progress)
        done = operations(model, given, mask=mask, code=code)
        measured = {"bits": score.bits, **getattr(score, "metrics", {})}
        found[when] = {"measured": measured, **asdict(done), "picojoules": done.picojoules()}
        found["scored"] = score.count
    with new_folder(Path(args.out)) as folder:
        if isinstance(after, SignalModel):
            save_exported(after, folder)
        else:
            write(INNForCausalLM.wrap(after), folder, home_of(args.model))  # type: ignore[arg-type]
        carry(args.model, folder)
    return found


def show_spikes(found: dict[str, Any]) -> None:
    from rich.table import Table

    from inn.analysis.energy import ADD, MULTIPLY_ADD, SOURCE

    tell, before, after = console(), found["before"], found["after"]
    table = Table(box=None, pad_edge=False)
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, value in before["measured"].items():
        table.add_row(name, f"{value:,.4f}", f"{after['measured'][name]:,.4f}")
    for name, key, unit in (
        ("multiply-adds per symbol", "multiply_adds", 1),
        ("additions per symbol", "additions", 1),
        ("nanojoules per symbol", "picojoules", 1000),
    ):
        table.add_row(name, *(f"{side[key] / unit:,.0f}" for side in (before, after)))
    tell.print(table)
    tell.print(
        f"{after['rate']:.2f} spikes per number, {after['silent']:.0%} of the numbers silent, in up to "
        f"{after['steps']:,} steps of time ({found['spike_code']}); scored on {found['scored']:,} symbols",
        soft_wrap=True,
    )
    tell.print(f"energies: {MULTIPLY_ADD:g} pJ a multiply-add, {ADD:g} pJ an addition ({SOURCE})", soft_wrap=True)
    tell.print(f"wrote {found['out']}; `inn.load` opens it", soft_wrap=True)
