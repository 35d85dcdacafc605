"""What neurons say, and rules that say it in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from inn.analysis.lesions.graphs import current_round, graph_of, routers_of
from inn.analysis.lesions.lesion import replaced
from inn.analysis.recording.stretches import Neurons, Reading, bits_of, entering, recalled
from inn.analysis.rules.questions import Question, answers
from inn.analysis.rules.read import Read
from inn.analysis.rules.trees import Tree
from inn.nn.modes import evaluating

Speech = Tensor
"""`[P, S, N, D]` what neurons say at P places: what goes into the router of each round, and last into the readout."""


@contextmanager
def listening(model: Neurons) -> Iterator[Callable[[], Speech]]:
    """Keep what the neurons say while the `with` block runs; call what it gives for it, rows one after another."""
    graph = graph_of(model, "listen to")
    said: dict[int, list[Tensor]] = {}

    def hear(place: int, x: Tensor) -> None:
        said.setdefault(place, []).append(x.detach().float().cpu())

    with ExitStack() as hooks:
        now = current_round(graph, hooks)
        for router in routers_of(graph):
            hooks.callback(router.register_forward_pre_hook(lambda _, args: hear(now(), args[0])).remove)
        rounds = graph.config.rounds if routers_of(graph) else 0
        hooks.callback(graph.readout.register_forward_pre_hook(lambda _, args: hear(rounds, args[0])).remove)
        yield lambda: torch.stack([torch.cat(said[p], 1).flatten(0, 1) for p in sorted(said)])


class _Teller:
    """What rules say in the place of neurons, step after step: `[P, B, L, N, D]`, the warm-up before the rows."""

    def __init__(self, values: Tensor, warmup: int) -> None:
        self.values = values
        self.at = [0] * (len(values) - 1) + [warmup]

    def __call__(self, what: str, r: int, x: Tensor) -> Tensor:
        if what == "gates":
            return x  # the decision whether to speak stays the neuron's own
        place = len(self.values) - 1 if what == "spoken" else r
        here = self.values[place][:, self.at[place] : self.at[place] + x.shape[1]]
        self.at[place] += x.shape[1]
        return here.to(x.device)


def spoken(trees: Sequence[Sequence[Tree]], asked: Sequence[Question], read: Read) -> Tensor:
    """What rules say, a tree for each place and neuron, warm-up included: `[P, K, L, N, D]`."""
    rows, length = read.given.shape[:2]
    known = answers(asked, replace(read, steps=length))
    return torch.stack(
        [torch.stack([tree.values(known).view(rows, length, -1) for tree in place], 2) for place in trees]
    )


@torch.no_grad()
def bits_with(
    model: Neurons,
    text: Reading,
    instead: Sequence[tuple[Sequence[int], Tensor]],
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Bits of every target where something is said in place of some neurons: `[1 + len(instead), K, T]`.

    Args:
        instead: neurons, and what is said in their place, `[P, K, L, N, D]` as `spoken` gives it. The first bits are
            those of the whole model.
        report: called with (symbols done, symbols to do).
    """
    found, row, done, total = [], 0, 0, (1 + len(instead)) * text.size
    with evaluating(model):
        for part in text.groups():
            entered, here = entering(model, part, recalled(model, part)), slice(row, row + len(part.tokens))
            bits = [bits_of(model, part, entered)]
            for neurons, values in instead:
                with replaced(model, neurons, _Teller(values[:, here], part.warmup)):
                    bits.append(bits_of(model, part, entered))
            found.append(torch.stack(bits))
            row, done = here.stop, done + total // len(text.tokens) * len(part.tokens)
            if report is not None:
                report(done, total)
    return torch.cat(found, 1)
