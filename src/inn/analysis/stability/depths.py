"""The residual states of any causal model, after every depth: what its stability is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.nn.graph import Graph
from inn.nn.modes import evaluating
from inn.nn.state import State
from inn.system.errors import InputError

Change = Callable[[Tensor], Tensor]
"""What is done to the embedded symbols `[B, T, F]` before the model reads them."""


class Hidden(Protocol):
    """Residual states of a causal model: all that `stability` needs to know of one."""

    def __call__(self, tokens: Tensor, change: Change | None = None) -> list[Tensor]:
        """Read `tokens` `[B, T]`, their embeddings changed; return `[B, T, F]` for depth 0 (the input) .. L."""
        ...


class Depths:
    """The residual states of a `SequenceModel` or a Hugging Face causal model, caught by hooks while it runs.

    Depth 0 is what the first round or layer takes in, depth l what the l-th gives out; neurons lie side by side, N x D.
    A model that `torch.nn` cannot see into like this needs a `Hidden` of its own.

    Raises `InputError` for a model whose embedding or layers cannot be found (an n-gram, say).

    >>> from inn import INN
    >>> [list(h.shape) for h in Depths(INN(vocab=27, neurons=4, width=8, rounds=2))(torch.zeros(1, 5).long())]
    [[1, 5, 32], [1, 5, 32], [1, 5, 32]]
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.embedding, self.layers, self.entry = _anatomy(model)

    @torch.no_grad()
    def __call__(self, tokens: Tensor, change: Change | None = None, state: State | None = None) -> list[Tensor]:
        """See `Hidden`; `state` is where a `SequenceModel` goes on from."""
        # Changed as a whole, then handed out piece by piece: some models read a text in pieces.
        embed = self.model.enter if isinstance(self.model, SignalModel) else self.embedding
        changed = None if change is None else change(embed(tokens))
        read = 0
        first: list[Tensor] = []
        outputs: list[list[Tensor]] = [[] for _ in self.layers]

        def embedded(module: nn.Module, args: Any, out: Tensor) -> Tensor:
            nonlocal read
            if changed is not None:
                out = changed[:, read : read + out.shape[1]]
                read += out.shape[1]
            if self.entry is None:
                first.append(out)
            return out

        def entering(module: nn.Module, args: tuple, options: dict[str, Any]) -> None:
            first.append(args[0] if args else options["hidden_states"])

        with evaluating(self.model), _hooks() as hooks:
            hooks.append(self.embedding.register_forward_hook(embedded))
            if self.entry is not None:
                hooks.append(self.entry.register_forward_pre_hook(entering, with_kwargs=True))
            for layer in dict.fromkeys(self.layers):  # once for one that several rounds share
                hooks.append(layer.register_forward_hook(_keeping(outputs[self.layers.index(layer)])))
            if isinstance(self.model, SequenceModel):
                self.model(tokens, state)
            else:
                self.model(tokens, use_cache=False)
        return self._in_order(first, outputs, tokens)

    def _in_order(self, first: list[Tensor], outputs: list[list[Tensor]], tokens: Tensor) -> list[Tensor]:
        """What the hooks caught, by depth, over the whole stretch of time."""
        shared = len(set(self.layers)) < len(self.layers)
        if shared:  # one module, called once for each round
            calls, first = outputs[0], first[:: len(self.layers)]
            outputs = [calls[r :: len(self.layers)] for r in range(len(self.layers))]
        caught = [torch.cat([h.detach() for h in calls], 1).flatten(2) for calls in (first, *outputs) if calls]
        if len(caught) != len(self.layers) + 1 or any(h.shape[:2] != tokens.shape[:2] for h in caught):
            raise InputError(
                f"the residual states of a {type(self.model).__name__} cannot be seen from outside; "
                "give a function that returns them instead"
            )
        return caught


def _anatomy(model: nn.Module) -> tuple[nn.Module, list[nn.Module], nn.Module | None]:
    """A model's embedding, its layers (one may come several times), and the layer whose input is depth 0, if seen."""
    parts = list(model.modules())
    find = getattr(model, "get_input_embeddings", None)
    embedding = find() if find is not None else next((m for m in parts if isinstance(m, nn.Embedding)), None)
    if isinstance(model, SignalModel):
        embedding = model.input
    graphs = [m for m in parts if isinstance(m, Graph)]
    stacks = [list(m) for m in parts if isinstance(m, nn.ModuleList) and len(m)]
    count = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    if graphs:
        layers: list[nn.Module] = [graphs[0].round(r) for r in range(graphs[0].config.rounds)]
    elif count is not None:
        layers = next((stack for stack in stacks if len(stack) == count), [])
    else:
        layers = next(iter(stacks), []) or [m for m in parts if isinstance(m, nn.RNNBase)]
    if embedding is None or not layers:
        raise InputError(
            f"a {type(model).__name__} has no embedding, or no layers, that stability can be measured on; "
            "give a model that has, or a function that returns its residual states"
        )
    if isinstance(layers[0], nn.TransformerEncoderLayer):  # `PaperTransformer` calls its parts; the last is a norm
        return embedding, [layer.norm2 for layer in layers], None  # type: ignore[misc]
    return embedding, layers, layers[0]


def _keeping(outputs: list[Tensor]):
    def keep(module: nn.Module, args: Any, out: Any) -> None:
        outputs.append(out if isinstance(out, Tensor) else out[0])

    return keep


@contextmanager
def _hooks() -> Iterator[list]:
    handles: list = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()
