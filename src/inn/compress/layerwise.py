"""Scoring a model layer by layer: each layer is passed once by the whole text, however many windows it has."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from inn.compress.calibrate import Stream
from inn.compress.decoder import NO_FRAME, Frame
from inn.compress.entry import ending
from inn.compress.measure import nats, together, windows_of
from inn.inference.evaluate import Score


@torch.no_grad()
def score_by_layer(
    model: nn.Module,
    tokens: Tensor,
    window: int = 512,
    report: Callable[[int, int], None] | None = None,
    frame: Frame = NO_FRAME,
) -> Score:
    """`inn.compress.measure.score`, for models whose layers are not in memory: a layer is read once, not per window.

    In memory are the activations of all windows between two layers.

    Example: ``score_by_layer(model, tokens, window=512).perplexity``
    """
    rows = windows_of(tokens, window, frame)
    stream = Stream(model, rows)
    for layer in range(len(stream.layers)):
        stream.batches = stream.run(layer)
        if report is not None:
            report(layer + 1, len(stream.layers))
    hidden = torch.cat(stream.batches)
    parts = []
    for i, row in enumerate(stream.inputs.split(1)):
        out = ending(model, stream.layers, row, hidden[i : i + 1], stream.given)
        parts.append(nats(out.logits, row.fields["input_ids"][0], frame))
    return together(parts)
