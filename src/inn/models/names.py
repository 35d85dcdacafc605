"""Names of weights: a model's graph is its child `backbone`; in files it is called `graph`, as it always was.

A child of that name collides with `torch.fx.GraphModule.graph`, so that nothing exported could be run. `model.graph`
still is the graph; only the names of parameters differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from inn.nn.graph import Graph

CHILD, FILED = "backbone", "graph"


def current(name: str) -> str:
    """The name in a model of what a file calls so.

    >>> current("graph.rounds.0.memory.D"), current("backbone.ids"), current("head.bias")
    ('backbone.rounds.0.memory.D', 'backbone.ids', 'head.bias')
    """
    return CHILD + name.removeprefix(FILED) if name.startswith(f"{FILED}.") else name


def filed(name: str) -> str:
    """The name in files, and in what is printed, of what a model calls so.

    >>> filed("backbone.ids"), filed("head.bias")
    ('graph.ids', 'head.bias')
    """
    return FILED + name.removeprefix(CHILD) if name.startswith(f"{CHILD}.") else name


def blocks_of(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    """Named numbers as bytes, in the order of their names, for a hash: name, type and shape, then the numbers.

    >>> next(blocks_of({"b": torch.zeros(2), "a": torch.zeros(1)}))
    b'a torch.float32 [1]'
    """
    for name, tensor in sorted(tensors.items()):
        yield f"{name} {tensor.dtype} {list(tensor.shape)}".encode()
        yield tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


class HoldsGraph(nn.Module):
    """A model whose child `backbone` is a graph, `model.graph`; it loads weights under either name."""

    backbone: Graph

    @property
    def graph(self) -> Graph:
        """The graph of neurons; its weights are named after the child that holds it, `backbone`."""
        return self.backbone

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(CHILD if name == FILED else name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [n for n in state_dict if n.startswith(f"{prefix}{FILED}.")]:
            state_dict[prefix + current(name.removeprefix(prefix))] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)
