"""Recording every symbol of a passage, where a tape keeps averages only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from inn.analysis.recording.record import writing_on
from inn.nn.tape import Tape, by_edge
from inn.nn.topology.edges import Edges, as_matrix
from inn.system.errors import InputError


class Trace(Tape):
    """A tape that also keeps the values of every symbol: for passages short enough to hold in memory."""

    each = True

    def __init__(self, channels: tuple[str, ...]):
        super().__init__(channels)
        self._values: dict[tuple[str, int], list[tuple[Tensor, Tensor | None]]] = {}  # with the sources of listed edges

    def keep(self, channel: str, r: int, values: Tensor) -> None:
        self._values.setdefault((channel, r), []).append((values, None))

    def keep_edges(self, r: int, values: Tensor, edges: Edges) -> None:
        if not by_edge(edges.sources):
            super().keep_edges(r, values, edges)
            return
        values = values * edges.open.to(values.dtype)
        self._values.setdefault(("routing", r), []).append((values, edges.sources))

    def values(self, channel: str) -> Tensor:
        """Every symbol's values by round, `[R, symbols, ...]`: call after call, in each row after row.

        The units are those of `inn.nn.tape.CHANNELS`. Raises `InputError` if nothing of the channel was recorded.
        """
        parts = [
            torch.cat([v if sources is None else as_matrix(v, sources) for v, sources in self._values[channel, r]])
            for r in self._rounds(channel)
        ]
        return torch.stack(parts)

    def listed(self) -> tuple[Tensor, Tensor] | None:
        """Routing edge by edge, `[R, symbols, H, N_to, K]`, and the sources `[N_to, K]` of the edges.

        None where it is kept as a matrix: of up to 256 neurons, and where edges are not listed or were others later.
        """
        rounds = self._rounds("routing")
        all_sources = [sources for r in rounds for _, sources in self._values["routing", r]]
        first = all_sources[0]
        if first is None or not all(s is not None and (s is first or torch.equal(s, first)) for s in all_sources):
            return None
        return torch.stack([torch.cat([v for v, _ in self._values["routing", r]]) for r in rounds]), first

    def _rounds(self, channel: str) -> list[int]:
        rounds = sorted(r for name, r in self._values if name == channel)
        if not rounds:
            raise InputError(
                f"nothing was recorded of '{channel}'; trace it, and run the model inside the `with` block"
            )
        return rounds


@contextmanager
def trace(model: nn.Module, *channels: str) -> Iterator[Trace]:
    """Like `record`, but every symbol is kept.

    Example:
        >>> import inn
        >>> model = inn.INN(vocab=27, neurons=4, width=16, rounds=2)
        >>> with trace(model, "activity") as passage:
        ...     _ = model(torch.randint(27, (1, 50)))
        >>> passage.values("activity").shape
        torch.Size([2, 50, 4])
    """
    with writing_on(model, Trace(channels)) as tape:
        yield tape
