"""A text in a model and in what is becoming of it: what later layers read, and what they would have read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection
from inn.compress.calibrate import Stream, check_finite
from inn.compress.plan import Block

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
        paths = {block: _inside(p.path, block.layer) for block, p in blocks.items()}
        sums: dict[tuple[int, str], list[Tensor]] = {}
        same: dict[tuple[int, str], tuple[int, str]] = {}
        for old, new in zip(self.dense, self.stream.batches, strict=True):
            for layer in range(self.at, last + 1):
                wanted = {path for block, path in paths.items() if block.layer == layer}
                stop = layer == last
                inputs = []
                for x, module in ((old, self._kept.get(layer)), (new, None)):
                    with _Watching(module or self.stream.layers[layer], wanted, stop) as seen:
                        try:
                            (y,) = self.stream.run(layer, [x], module)
                        except _Seen:
                            y = x
                    inputs.append((seen, y))
                (before, old), (after, new) = inputs
                first: dict[int, str] = {}
                for path, x in after.items():
                    twin = first.setdefault(id(x), path)
                    same[layer, path] = (layer, twin)
                    if twin != path:
                        continue
                    one, other = (t.flatten(0, -2).float() for t in (x, before[path]))
                    found = [(one.T @ one).double(), (one.T @ other).double()]
                    known = sums.get((layer, path))
                    sums[layer, path] = found if known is None else [a + b for a, b in zip(known, found)]
        reads = {key: Read(*found) for key, found in sums.items()}
        for (layer, path), found in reads.items():
            check_finite(found.moment, next(p.path for b, p in blocks.items() if (b.layer, paths[b]) == (layer, path)))
        return {b: reads[same[b.layer, paths[b]]] for b in blocks if (b.layer, paths[b]) in same}


class _Seen(Exception):
    """All inputs that are wanted have been seen: what is after them is not run."""


class _Watching:
    """The inputs of modules inside a layer, by path, while it runs; `stop` ends the run when all are there."""

    def __init__(self, layer: nn.Module, paths: set[str], stop: bool):
        self.layer, self.paths, self.stop = layer, paths, stop
        self.seen: dict[str, Tensor] = {}
        self.hooks = ExitStack()

    def __enter__(self) -> dict[str, Tensor]:
        for path in self.paths:
            handle = self.layer.get_submodule(path).register_forward_pre_hook(self._hook(path))
            self.hooks.callback(handle.remove)
        return self.seen

    def __exit__(self, *error: Any) -> None:
        self.hooks.close()

    def _hook(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.seen[path] = args[0]
            if self.stop and len(self.seen) == len(self.paths):
                raise _Seen

        return hook


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


def _inside(path: str, layer: int) -> str:
    """A path from its layer on."""
    return path.split(f".{layer}.", 1)[1]
