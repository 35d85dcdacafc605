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

    Held are the inputs of one layer, and dense copies of the layers that were touched and are not passed yet.

    Args:
        model: the model, dense still.
        rows: `[S, T]` int64, the text.
    """

    def __init__(self, model: nn.Module, rows: Tensor):
        self.stream = Stream(model, rows)
        self.dense = list(self.stream.batches)
        self.at = 0
        self._kept: dict[int, nn.Module] = {}

    def touch(self, blocks: Iterable[Block]) -> None:
        """Keep the layers of blocks that are about to be replaced, as they are."""
        for layer in {block.layer for block in blocks} - self._kept.keys():
            self._kept[layer] = copy.deepcopy(self.stream.layers[layer])

    def advance(self, layer: int) -> None:
        """Go on to the input of a layer."""
        while self.at < layer:
            self.dense = self.stream.run(self.at, self.dense, self._kept.get(self.at))
            self.stream.batches = self.stream.run(self.at)
            self._kept.pop(self.at, None)
            self.at += 1

    @torch.no_grad()
    def read(self, blocks: Mapping[Block, Projection]) -> dict[Block, Read]:
        """What blocks read, none of them replaced yet; from the layer that both streams have reached, or later ones.

        Blocks that read the same tensor share what is returned. Raises `InputError` for inputs that are not finite.
        """
        last = max(block.layer for block in blocks)
        paths = {layer: self.stream.paths(blocks, layer) for layer in range(self.at, last + 1)}
        sums: dict[tuple[int, str], list[Tensor]] = {}
        first: dict[tuple[int, str], str] = {}
        for old, new in zip(self.dense, self.stream.batches, strict=True):
            for layer, inside in paths.items():
                wanted, stop = set(inside.values()), layer == last
                before, old = self._watched(layer, old, self._kept.get(layer), wanted, stop)
                after, new = self._watched(layer, new, None, wanted, stop)
                was = {path: one.tensor for one in before for path in one.readers}
                for one in after:
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

    def _watched(
        self, layer: int, x: Tensor, module: nn.Module | None, paths: set[str], stop: bool
    ) -> tuple[list[Seen], Tensor]:
        """What modules of a layer, or of a `module` in its place, read, and what it makes of `x`; `x` when stopped."""
        with Watch(module or self.stream.layers[layer], paths, stop) as seen:
            (x,) = self.stream.run(layer, [x], module)
        return seen, x


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
