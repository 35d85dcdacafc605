"""Heads of attention as units: keys and values of a head go together with the queries that hear it, and what reads it.

Without some of them queries, keys, values and the output projection are ordinary layers, narrower, and the cache of
keys and values is smaller. An architecture allows that if its attention computes with fewer heads what it computes with
all, those left out silenced; that is tried, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, text_config, weight_of
from inn.compress.calibrate import Stream
from inn.compress.inputs import Inputs
from inn.compress.neurons_layers import narrow
from inn.compress.topologies import Block, BlockGroup

READS, WRITES = "o", "qkv"
CLOSE = 1e-3
"""By how much, of the largest number, attention with fewer heads may differ from that with heads silenced."""


@torch.no_grad()
def head_groups(model: nn.Module, blocks: Mapping[Block, Projection], rows: Inputs) -> dict[BlockGroup, int]:
    """The attention of layers whose heads can be cut: what reads the heads, then q, k and v; and how many heads it has.

    Heads are those of keys and values: with grouped queries several queries go with each. Left out are layers of which
    a projection is not among `blocks`, or is part of a fused one, and architectures that do not allow it.

    Args:
        model: a decoder or an encoder of Hugging Face's, dense.
        blocks: where its projections are.
        rows: something to read, one row or more.
    """
    found: dict[BlockGroup, int] = {}
    stream = Stream(model, rows[:1])
    for layer in range(len(stream.layers)):
        group = tuple(Block(layer, role) for role in (READS, *WRITES))
        heads = _heads(model)
        if all(block in blocks for block in group) and heads > 1:
            places = [blocks[block] for block in group]
            if _divided(model, places, heads) and _allowed(stream, layer, places, heads):
                found[group] = heads
        stream.batches = stream.run(layer)
    return found


def _heads(model: nn.Module) -> int:
    text = text_config(model.config)
    return getattr(text, "num_key_value_heads", None) or getattr(text, "num_attention_heads", 1)


def _divided(model: nn.Module, places: list[Projection], heads: int) -> bool:
    """Whether each projection is a layer of its own, of which every head has as many rows, or columns of the first."""
    reader, *writers = places
    whole = len({p.path for p in places}) == len(places)
    sizes = [weight_of(model, reader).shape[1], *(len(weight_of(model, p)) for p in writers)]
    return whole and all(size % heads == 0 for size in sizes)


def _allowed(stream: Stream, layer: int, places: list[Projection], heads: int) -> bool:
    """Whether a layer without its first head computes what it computes with that head silenced."""
    model, reader = stream.model, weight_of(stream.model, places[0])
    left = torch.arange(1, heads)
    size = reader.shape[1] // heads
    silenced = reader.clone()
    silenced[:, :size] = 0
    try:
        with _as_it_was(model, places):
            reader.copy_(silenced)
            (wanted,) = stream.run(layer, stream.batches[:1])
        with _as_it_was(model, places):
            narrow(model, places, left, silenced[:, size:], heads)
            (given,) = stream.run(layer, stream.batches[:1])
    except (RuntimeError, ValueError, IndexError):  # it counts on all its heads
        return False
    return given.shape == wanted.shape and bool((given - wanted).abs().max() <= CLOSE * wanted.abs().max())


@contextmanager
def _as_it_was(model: nn.Module, places: list[Projection]) -> Iterator[None]:
    """Afterwards the layers at some places, and the numbers of the first, are what they were."""
    layers = {p.path: model.get_submodule(p.path) for p in places}
    kept: Tensor = weight_of(model, places[0]).clone()
    try:
        yield
    finally:
        for path, module in layers.items():
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module)
        weight_of(model, places[0]).copy_(kept)
