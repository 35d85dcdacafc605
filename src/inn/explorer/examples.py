"""Sequences of a task as the model reads them: each from a fresh state, with what is to be told at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.recording.stretches import counted
from inn.data.examples import Examples
from inn.data.names import Channels
from inn.data.view import numbers, step_text, target_text
from inn.explorer.passage import PREDICTIONS, ROOM, Reading
from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of


def read_examples(
    model: SequenceModel,
    examples: Examples,
    *,
    title: str = "",
    actors: Sequence[str | None] = (),
    room: int = ROOM,
) -> dict[str, Any]:
    """What happened at each step of some sequences, as `inn.explorer.passage.read_passage` has it of a text.

    `bits[t]` is the loss at step t itself, None where nothing counts. Beside it: `due[t]`, what was to be told, and
    `said[t]`, what was, where that is numbers (there are no `top` ones then); `steps[t]`, the place of a step in its
    sequence, from 1; where the symbols have `actors` (`inn.Task.actors`), the `cast`: their `names`, and `of[t]`, whose
    step t is, or None.
    """
    assert model.vocabulary is not None
    reading, vocabulary, device = Reading(model, model.vocabulary), model.vocabulary, device_of(model)
    said: list[str] = []
    for i in range(len(examples)):
        piece = slice(examples.starts[i], examples.starts[i + 1])
        given = torch.from_numpy(np.ascontiguousarray(examples.inputs[piece])).to(device)
        targets = torch.from_numpy(np.ascontiguousarray(examples.targets[piece])).to(device)
        reading.state = None
        for at, y in reading.run(given):
            _note(reading, model, y, targets[at], said)
    recorded, shown = reading.recorded(len(examples.inputs), room)
    names = [step_text(value, vocabulary) for value in examples.inputs[:shown]]
    due = [target_text(target, vocabulary) for target in examples.targets[:shown]]
    ends = set((examples.starts[1:] - 1).tolist())
    top = torch.cat(reading.top)[:shown] if reading.top else torch.zeros(shown, 0, dtype=torch.long)
    shares = torch.cat(reading.shares)[:shown].flatten().tolist() if reading.shares else []
    told = [vocabulary.symbol(i) for i in range(vocabulary.size)] if reading.top else []
    labels = list(dict.fromkeys([*told, *names]))
    places = {label: i for i, label in enumerate(labels)}
    signal = isinstance(vocabulary, Channels)
    counted_bits = [b for b in reading.bits[:shown] if b is not None]
    return {
        "title": title,
        "before": 0,
        "symbols": shown,
        "asked": len(examples.inputs),
        "unit": vocabulary.unit,
        "signal": signal,
        "text": [_piece(name, t in ends, signal) for t, name in enumerate(names)],
        "labels": labels,
        "ids": [places[name] for name in names],
        "bits": [None if b is None else round(b, 3) for b in reading.bits[:shown]],
        "mean_bits": sum(counted_bits) / len(counted_bits) if counted_bits else None,
        "due": due,
        "said": said[:shown] or None,
        "steps": (np.concatenate([np.arange(n) for n in examples.lengths])[:shown] + 1).tolist(),
        "top": {
            "each": top.shape[1],
            "ids": [places[told[i]] for i in top.flatten().tolist()],
            "shares": [round(p, 4) for p in shares],
        },
        **_cast(actors, examples.inputs[:shown]),
        "neurons": reading.neurons,
        "rounds": reading.rounds,
        **reading.groups(),
        **recorded,
    }


def _cast(actors: Sequence[str | None], symbols: np.ndarray) -> dict[str, Any]:
    """Who acts, and at which of the steps that read these symbols."""
    names = [name for name in dict.fromkeys(actors) if name is not None]
    if not names:
        return {}
    number = {name: i for i, name in enumerate(names)}
    return {"cast": {"names": names, "of": [number.get(actors[i]) for i in symbols.tolist()]}}


def _piece(name: str, last: bool, signal: bool) -> str:
    """What stands for a step in the text: the numbers of one are not parted, and a sequence ends a line."""
    if not signal:
        return name + ("\n" if last else " ")
    return name.replace(" ", "\u00a0") + ("\n\n" if last else "   ")


def _note(reading: Reading, model: SequenceModel, y: Tensor, targets: Tensor, said: list[str]) -> None:
    """Keep what was told at some steps, `[T, ...]`, and what it cost."""
    counts = counted(targets[None])[0]
    nats = model.losses(y[None], targets[None])[0] / counts.clamp_min(1)
    reading.bits += [b / math.log(2) if c else None for b, c in zip(nats.tolist(), counts.tolist(), strict=True)]
    if targets.ndim == 1:
        best = y.softmax(-1).topk(min(PREDICTIONS, y.shape[-1]))
        reading.top.append(best.indices.cpu())
        reading.shares.append(best.values.cpu())
        return
    middle = y if y.ndim == 2 else y[..., y.shape[-1] // 2]
    said += [numbers(row) for row in middle.cpu().numpy()]
