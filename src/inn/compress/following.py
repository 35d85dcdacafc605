"""A text in a model and in what is becoming of it: what later layers read, and what they would have read."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, weight_of
from inn.compress.calibrate import Stream, check_finite, product
from inn.compress.inputs import Inputs, Rows
from inn.compress.pointwise import is_pointwise
from inn.compress.topologies import Block
from inn.compress.watch import Seen

ADDS = "od"
"""Projections whose output a layer adds to what it was given."""
RIDGE = 1e-2
"""Of the moments' mean diagonal, added where inputs are mapped: with no text to say otherwise they stay as they are."""


@dataclass(frozen=True)
class Read:
    """What a block reads of a text.

    Attributes:
        moment: `[n, n]`, X'^T X', of its inputs in the model as it has become.
        cross: `[n, n]`, X'^T Z, with Z the inputs for which it is to give what it gave: X, those in the dense model.
        behind: `[n, m]`, X'^T E, with E what its outputs are to make up for besides; None for nothing.
    """

    moment: Tensor
    cross: Tensor
    behind: Tensor | None = None

    def corrected(self, weight: Tensor) -> Tensor:
        """The weight that gives with the inputs as they have become, X', what `weight` gave with Z, and E.

        W* = W B^T + (X'^T E)^T R, R = (X'^T X' + r)^-1, B = R (X'^T Z + r): least squares, a ridge r towards W itself.
        """
        ridge = RIDGE * self.moment.diagonal().mean().clamp_min(1e-30)
        eye = ridge * torch.eye(len(self.moment), dtype=self.moment.dtype, device=self.moment.device)
        wanted = (self.cross + eye) @ weight.T
        return torch.linalg.solve(self.moment + eye, wanted if self.behind is None else wanted + self.behind).T


class Following:
    """Two streams of one text, layer by layer: through the dense layers, and through what they have become.

    What a layer adds to is where the two streams drift apart. The blocks that add (`o`, `d`), where a layer's output is
    its input and what they give, make up for the drift as far as their own inputs tell of it.

    Held are the inputs and outputs of one layer, what its dense blocks read, and dense copies of later layers that were
    touched.

    Args:
        model: the model, dense still.
        rows: `[S, T]` int64, the text, or other inputs.
        blocks: all that are to be replaced.
    """

    def __init__(self, model: nn.Module, rows: Rows | Inputs, blocks: Mapping[Block, Projection]):
        self.stream = Stream(model, rows)
        self.blocks = blocks
        self.at = -1
        self._before: list[Tensor] = []
        """The inputs of the dense layer `at`."""
        self._read: list[dict[str, Tensor]] = []
        """What its blocks read, by path, but for the last of them that add: they make up for all there is."""
        self._after = list(self.stream.batches)
        """Its outputs."""
        self._adding: list[str] = []
        """The paths of its blocks that add to its input, in their order."""
        self._last: list[tuple[Tensor, Tensor]] = []
        """What the last of them was read to be given, and what the layer made of that."""
        self._change: Tensor | None = None
        """By how much that block's weight has changed since, `[m, n]`; None where that alone does not tell."""
        self._kept: dict[int, nn.Module] = {}
        self._adds = {block: p for block, p in find_blocks(model).items() if _adds(model, block, p)}

    @torch.no_grad()
    def advance(self, layer: int) -> None:
        """Go on to the input of a layer, none of its own blocks replaced yet but by groups of earlier layers."""
        while self.at < layer:
            if self.at >= 0:
                self.stream.batches = self._output()
            self.at += 1
            self._last, self._change = [], None
            adds = set(self.stream.paths(self._adds, self.at).values())
            paths = adds | set(self.stream.paths(self.blocks, self.at).values())
            dense = self._kept.pop(self.at, None)
            self._before, self._after, self._read = self._after, [], []
            for x in self._before:
                seen, y = self.stream.watched(self.at, x, paths, dense)
                read = _by_reader(seen)
                if not self._after:
                    self._adding = _adding(dense or self.stream.layers[self.at], adds, x, read, y)
                self._after.append(y)
                self._read.append({path: t for path, t in read.items() if path not in self._adding[-1:]})

    def _output(self) -> list[Tensor]:
        """What the layer `at` makes of the text by now; it is run again only where its last block does not tell."""
        if self._change is None or len(self._last) < len(self.stream.batches):
            return self.stream.run(self.at)
        change = self._change.to(self._last[0][0])
        return [y + nn.functional.linear(read, change).view_as(y) for read, y in self._last]

    def becomes(self, block: Block, weight: Tensor) -> None:
        """Tell what the weight of a block amounts to from now on, if it alone of all that was read last has changed.

        Args:
            block: still dense. Where it is the last that adds to its layer's input, the layer's output follows from it.
            weight: `[m, n]`; of a block that reads neurons zeros for those that are gone.
        """
        if block.layer == self.at and self._last:
            self._change = weight - weight_of(self.stream.model, self.blocks[block])

    @torch.no_grad()
    def read(self, group: Iterable[Block]) -> dict[Block, Read]:
        """What blocks read, none of them replaced yet; from the layer that both streams have reached, or later ones.

        Blocks that read the same tensor share what is returned. Raises `InputError` for inputs that are not finite.
        """
        blocks = {block: self.blocks[block] for block in group}
        last = max(block.layer for block in blocks)
        paths = {layer: self.stream.paths(blocks, layer) for layer in range(self.at, last + 1)}
        for layer in range(self.at + 1, last + 1):  # about to be replaced, and the dense stream has yet to pass
            if paths[layer] and layer not in self._kept:
                self._kept[layer] = copy.deepcopy(self.stream.layers[layer])
        final = self._adding[-1] if self._adding and self._adding[-1] in paths[self.at].values() else None
        self._last, self._change = [], None
        sums: dict[tuple[int, str], Read] = {}
        first: dict[tuple[int, str], str] = {}
        for x, was, y, new in zip(self._before, self._read, self._after, self.stream.batches, strict=True):
            old, start = y, new
            for layer, inside in paths.items():
                here = layer == self.at
                wanted, stop = set(inside.values()), layer == last and not (here and final)
                if not here:
                    seen, old = self.stream.watched(layer, old, wanted, self._kept.get(layer), stop)
                    was = _by_reader(seen)
                seen, new = self.stream.watched(layer, new, wanted, stop=stop)
                now = _by_reader(seen)
                for one in seen:
                    path = one.readers[0]
                    if here and path == final:
                        found = _read(one.tensor, one.tensor, y - new)
                        self._last.append((one.tensor, new))
                    elif not (_aligned(now.get(path), new) and _aligned(was.get(path), old)):
                        found = _read(one.tensor, one.tensor)  # not a row for every symbol: nothing to compare by
                    elif here and final is None and path in self._adding[:1]:  # one of both makes up for it, not twice
                        found = _read(one.tensor, was[path], x - start)
                    else:
                        found = _read(one.tensor, was[path])
                    known = sums.get((layer, path))
                    sums[layer, path] = found if known is None else _sum(known, found)
                    first.update({(layer, reader): path for reader in one.readers})
        for (layer, path), found in sums.items():
            check_finite(found.moment, f"{self.stream.path}.{layer}.{path}")
        keys = {block: (layer, path) for layer, inside in paths.items() for block, path in inside.items()}
        return {block: sums[key[0], first[key]] for block, key in keys.items() if key in first}


def _adds(model: nn.Module, block: Block, place: Projection) -> bool:
    """Whether a block may add to its layer's input as it is: rows of channels, not channels of places."""
    return block.role in ADDS and not is_pointwise(model.get_submodule(place.path))


def _adding(layer: nn.Module, paths: set[str], x: Tensor, read: Mapping[str, Tensor], y: Tensor) -> list[str]:
    """Those of `paths`, in the order of their reading, whose outputs and `x` make up a layer's output; else none."""
    order = [path for path in read if path in paths]
    given = [layer.get_submodule(path)(read[path]) for path in order]  # OPT's are flat, [B T, F]
    if any(one.numel() != x.numel() for one in given):
        return []
    gap = sum((one.view_as(x) for one in given), x) - y
    return order if order and bool(gap.abs().max() <= max(1e-3, 4 * torch.finfo(y.dtype).eps) * y.abs().max()) else []


def _read(now: Tensor, wanted: Tensor, behind: Tensor | None = None) -> Read:
    """Moments of what a block reads now, and of what it is to make of it."""
    moment = product(now, now)
    cross = moment if wanted is now else product(now, wanted)
    return Read(moment, cross, None if behind is None else product(now, behind))


def _sum(a: Read, b: Read) -> Read:
    behind = None if a.behind is None or b.behind is None else a.behind + b.behind
    return Read(a.moment + b.moment, a.cross + b.cross, behind)


def _by_reader(seen: Sequence[Seen]) -> dict[str, Tensor]:
    """What each module read, of those that were called once."""
    calls = Counter(path for one in seen for path in one.readers)
    return {path: one.tensor for one in seen for path in one.readers if calls[path] == 1}


def _aligned(read: Tensor | None, x: Tensor) -> bool:
    """Whether a module read a row for every symbol of `x` `[B, T, F]`; an expert reads some of them only."""
    return read is not None and read.numel() // read.shape[-1] == x.shape[0] * x.shape[1]


def stages(order: Mapping[Block, int], groups: Iterable[tuple[Block, ...]]) -> Iterator[tuple[int, list[int]]]:
    """Groups in the order in which their first blocks are reached, those that are reached together at once.

    Args:
        order: when a block reads within its layer, as `Stream.order` has it.

    Yields the layer, and the numbers of the groups.
    """
    at: dict[tuple[int, int], list[int]] = {}
    for i, group in enumerate(groups):
        layer = min(block.layer for block in group)
        at.setdefault((layer, min(order.get(b, 0) for b in group if b.layer == layer)), []).append(i)
    for (layer, _), numbers in sorted(at.items()):
        yield layer, numbers
