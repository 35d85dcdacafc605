"""What the modules inside a layer read, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from inn.compress.pointwise import read_by


@dataclass(frozen=True)
class Seen:
    """A tensor that was read, `[..., n]`, and the paths of the modules that read it."""

    tensor: Tensor
    readers: list[str]


class Watch:
    """A context in which a layer runs; it gives the distinct tensors that modules inside it read, in their order.

    Tensors that are equal but not the same object are two. A path whose module the layer never calls reads none.

    Args:
        layer: the layer.
        paths: of modules inside it.
        stop: end the run, and leave the context, as soon as all of them have read.

    >>> import torch
    >>> layer = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> with Watch(layer, ["0", "1"]) as seen:
    ...     out = layer(torch.zeros(4, 2))
    >>> [(list(one.tensor.shape), one.readers) for one in seen]
    [([4, 2], ['0']), ([4, 3], ['1'])]
    """

    def __init__(self, layer: nn.Module, paths: Iterable[str], stop: bool = False):
        self.layer, self.stop = layer, stop
        self.missing = set(paths)
        self.given: list[Tensor] = []
        """What was handed to the modules, before `read_by`: the one tensor that several read."""
        self.seen: list[Seen] = []
        self.hooks = ExitStack()

    def __enter__(self) -> list[Seen]:
        for path in sorted(self.missing):
            handle = self.layer.get_submodule(path).register_forward_pre_hook(self._hook(path))
            self.hooks.callback(handle.remove)
        return self.seen

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        self.hooks.close()
        return kind is _AllRead

    def _hook(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            at = next((i for i, x in enumerate(self.given) if x is args[0]), len(self.given))
            if at == len(self.given):
                self.given.append(args[0])
                self.seen.append(Seen(read_by(module, args[0]), []))
            self.seen[at].readers.append(path)
            self.missing.discard(path)
            if self.stop and not self.missing:
                raise _AllRead

        return hook


class _AllRead(Exception):
    """All that is wanted has been read: what is after it is not run."""
