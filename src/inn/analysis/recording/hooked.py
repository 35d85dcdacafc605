"""Hooks by TransformerLens' names: a model as its `HookedRootModule`, so that code written for it finds its points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

from torch import Tensor, nn

from inn.config.typed import typed
from inn.models.inn import INN
from inn.nn.feedback import FeedbackRound
from inn.system.errors import InputError
from inn.system.packages import require


@typed
def hooked(model: nn.Module) -> Any:
    """A model with TransformerLens' hook points, `run_with_cache`, `run_with_hooks` and `hook_dict`.

    A round is a block; neurons stay apart, so activities are `[B, T, N, D]` where TransformerLens has `[batch, pos,
    d_model]`. The points: `hook_embed` (the embedding `[B, T, F]`), and in each block `hook_resid_pre`,
    `hook_resid_post`, `hook_memory_out` and `hook_router_out` (what is heard; `[B, T, N, I]` where it leads into the
    memory), then `ln_final.hook_normalized` (what the head reads) and `unembed.hook_out` (the logits). What a hook
    returns stands in the place of what was there. The weights are the model's own; called, it gives logits `[B, T, V]`.

    Args:
        model: an `inn.INN` (kinds `inn` and `mamba-stack`); of `inn.hf` `model.inn`.

    Raises `InputError` for anything else, for one that goes step by step (a router with a lag), and where
    TransformerLens is not installed.

    >>> model = hooked(INN(vocab=27, neurons=2, width=8, rounds=2))  # doctest: +SKIP
    >>> logits, cache = model.run_with_cache(tokens)  # doctest: +SKIP
    """
    if not isinstance(model, INN):
        raise InputError(f"hooks are for an inn.INN, not for a {type(model).__name__}; of inn.hf give model.inn")
    if any(isinstance(module, FeedbackRound) or not module.parallel_in_time for module in model.graph.rounds):
        raise InputError("hooks see all steps of a round at once, and a router with a lag goes step by step")
    return _root()(model)


def points(model: INN) -> Iterator[tuple[str, nn.Module, bool]]:
    """The name of each point, the module that it is at, and whether it is before it."""
    yield "hook_embed", model.embedding, False
    graph = model.graph
    for r in range(graph.config.rounds):
        module = graph.round(r)
        yield f"blocks.{r}.hook_resid_pre", module, True
        if module.router is not None:
            yield f"blocks.{r}.hook_router_out", module.router, False
        yield f"blocks.{r}.hook_memory_out", module.memory, False
        yield f"blocks.{r}.hook_resid_post", module, False
    yield "ln_final.hook_normalized", model.norm, False
    yield "unembed.hook_out", model.head, False


@cache
def _root() -> type:
    """The class, which is made when it is asked for, for its base is TransformerLens'."""
    lens = require("transformer_lens.hook_points", "hooked()", "bridges")
    base = require("transformer_lens.HookedRootModule", "hooked()", "bridges").HookedRootModule

    class Hooked(base):
        """An INN between hook points."""

        def __init__(self, model: INN):
            super().__init__()
            self.__dict__["model"] = model  # no child: `setup` names children, and these are not ours to name
            for name, *_ in points(model):
                *where, last = name.split(".")
                home: nn.Module = self
                for child in where:
                    if child not in home._modules:
                        home.add_module(child, nn.Module())
                    home = home._modules[child]  # type: ignore[assignment]
                home.add_module(last, lens.HookPoint())
            self.setup()

        def forward(self, tokens: Tensor, *args: Any, **options: Any) -> Tensor:
            """Logits `[B, T, V]`; arguments as of the model."""
            at: dict[nn.Module, list[tuple[Any, bool]]] = {}
            for name, module, before in points(self.model):
                at.setdefault(module, []).append((self.mod_dict[name], before))
            with ExitStack() as stack:
                for module, here in at.items():  # a module of all rounds has a point for each
                    first, last = ([point for point, before in here if before is b] for b in (True, False))
                    if first:
                        stack.enter_context(module.register_forward_pre_hook(_entering(iter(first))))
                    if last:
                        stack.enter_context(module.register_forward_hook(_leaving(iter(last))))
                return self.model(tokens, *args, **options)[0]

    return Hooked


def _entering(following: Iterator[Any]) -> Any:
    return lambda module, given: (next(following)(given[0]), *given[1:])


def _leaving(following: Iterator[Any]) -> Any:
    def through(module: nn.Module, given: Any, gives: Any) -> Any:
        point = next(following)
        return (point(gives[0]), *gives[1:]) if isinstance(gives, tuple) else point(gives)

    return through
