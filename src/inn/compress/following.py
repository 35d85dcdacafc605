"""A text in a model and in what is becoming of it: what later layers read, and what they would have read."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection
from inn.compress.calibrate import Stream, check_finite
from inn.compress.plan import Block
from inn.compress.watch import Seen, Watch

RIDGE = 1e-2
"""Of the moments' mean diagonal, added where inputs are mapped: with no text to say otherwise they stay as they are."""


@dataclass(frozen=True)
class Read:
    """What a block reads of a text.

    Attributes:
        moment: `[n, n]`, X'^T X', of its inputs in the model as it has become.
        cross: `[n, n]`, X'^T X, with X its inputs in the dense model.
    """

    moment: Tensor
    cross: Tensor

    def corrected(self, weight: Tensor) -> Tensor:
        """The weight that gives with the inputs as they have become, X', what `weight` gave with the dense X.

        W* = W B^T, B = (X'^T X' + r)^-1 (X'^T X + r): least squares with a ridge r towards W itself.
        """
        ridge = RIDGE * self.moment.diagonal().mean().clamp_min(1e-30)
        eye = ridge * torch.eye(len(self.moment), dtype=self.moment.dtype, device=self.moment.device)
        return weight @ torch.linalg.solve(self.moment + eye, self.cross + eye).T


class Following:
    """Two streams of one text, layer by layer: through the dense layers, and through what they have become.

    Held are the inputs of one layer, what its dense blocks read, and dense copies of later layers that were touched.

    Args:
        model: the model, dense still.
        rows: `[S, T]` int64, the text.
        blocks: all that are to be replaced.
    """

    def __init__(self, model: nn.Module, rows: Tensor, blocks: Mapping[Block, Projection]):
        self.stream = Stream(model, rows)
        self.blocks = blocks
        self.at = -1
        self._after = list(self.stream.batches)
        """What the dense layer `at` makes of the text."""
        self._read: list[dict[str, Tensor]] = []
        """What its blocks read, by path, for every batch."""
        self._kept: dict[int, nn.Module] = {}

    def advance(self, layer: int) -> None:
        """Go on to the input of a layer, none of its own blocks replaced yet but by groups of earlier layers."""
        while self.at < layer:
            if self.at >= 0:
                self.stream.batches = self.stream.run(self.at)
            self.at += 1
            paths = set(self.stream.paths(self.blocks, self.at).values())
            before, dense = self._after, self._kept.pop(self.at, None)
            self._after, self._read = [], []
            for x in before:
                seen, x = self._watched(self.at, x, dense, paths)
                self._after.append(x)
                self._read.append(_by_reader(seen))

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
        sums: dict[tuple[int, str], list[Tensor]] = {}
        first: dict[tuple[int, str], str] = {}
        for was, old, new in zip(self._read, self._after, self.stream.batches, strict=True):
            for layer, inside in paths.items():
                wanted, stop = set(inside.values()), layer == last
                if layer > self.at:
                    seen, old = self._watched(layer, old, self._kept.get(layer), wanted, stop)
                    was = _by_reader(seen)
                seen, new = self._watched(layer, new, None, wanted, stop)
                for one in seen:
                    path = one.readers[0]
                    x, y = (t.flatten(0, -2).float() for t in (one.tensor, was[path]))
                    found = [(x.T @ x).double(), (x.T @ y).double()]
                    known = sums.get((layer, path))
                    sums[layer, path] = found if known is None else [a + b for a, b in zip(known, found)]
                    first.update({(layer, reader): path for reader in one.readers})
        reads = {key: Read(*found) for key, found in sums.items()}
        for (layer, path), found in reads.items():
            check_finite(found.moment, next(blocks[block].path for block, at in paths[layer].items() if at == path))
        keys = {block: (layer, path) for layer, inside in paths.items() for block, path in inside.items()}
        return {block: reads[key[0], first[key]] for block, key in keys.items() if key in first}

    @torch.no_grad()
    def _watched(
        self, layer: int, x: Tensor, module: nn.Module | None, paths: set[str], stop: bool = False
    ) -> tuple[list[Seen], Tensor]:
        """What modules of a layer, or of a `module` in its place, read, and what it makes of `x`; `x` when stopped."""
        with Watch(module or self.stream.layers[layer], paths, stop) as seen:
            (x,) = self.stream.run(layer, [x], module)
        return seen, x


def _by_reader(seen: Iterable[Seen]) -> dict[str, Tensor]:
    return {path: one.tensor for one in seen for path in one.readers}


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
