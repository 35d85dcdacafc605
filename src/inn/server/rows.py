"""What a model knows of many streams that come and go: the rows of one batch, stepped in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of
from inn.nn.state import State

RECALL = -1
"""Where a state keeps what neurons recall."""
TABLE = (RECALL, "table")


class Reading:
    """A model that reads and writes streams which may share the tables of what they recall.

    Args:
        model: in evaluation mode.
        shared: whether all streams look up the model's experience alone, in one set of tables that nobody writes to.
            Else each stream begins with a copy of them and remembers what it reads itself. Models without tables have
            nothing to share.

    Example: ``logits, states = Reading(model, shared=False).read(torch.tensor([[1, 2, 3]]), [None])``
    """

    def __init__(self, model: SequenceModel, shared: bool):
        self.model, self.device = model, device_of(model)
        self.recall = getattr(model, "recall", None)
        first = model.initial_state(1) if model.experience is None else model.experience.to(self.device)
        self.common = first[TABLE] if shared and TABLE in first else None
        self.first = State({key: t for key, t in first.items() if self.common is None or key != TABLE})
        self.bytes = self.first.bytes
        """Bytes that a stream takes."""

    @torch.no_grad()
    def read(
        self, symbols: Tensor, states: Sequence[State | None], remember: bool = True
    ) -> tuple[Tensor, list[State]]:
        """Read some symbols of streams `[B, T]`: logits `[B, T, V]`, and their states; those given are used up.

        `states`: of each stream; None for one that has read nothing.
        """
        first, *others = [self.first if state is None else state for state in states]
        state = first.concat_batch(*others) if others or states[0] is None else first
        logits = self.read_(symbols, state, remember)
        return logits, [State({key: t[row : row + 1] for key, t in state.items()}) for row in range(len(states))]

    @torch.no_grad()
    def read_(self, symbols: Tensor, state: State, remember: bool = True) -> Tensor:
        """The same of streams whose states are those of one batch, changed in place."""
        tokens = symbols.to(self.device)
        found, given = self._recalled(tokens, state, remember)
        logits, after = self.model(tokens, given, **found)
        _keep(after, given)
        return logits

    @torch.no_grad()
    def step(self, tokens: Tensor, rows: Rows) -> Tensor:
        """Read a symbol of each stream `[B]`, of all that there are: logits `[B, V]`; the rows are changed in place.

        They are symbols that a stream has written itself, and not remembered in its tables.
        """
        tokens = tokens.to(self.device)
        found, given = self._recalled(tokens[:, None], rows.all(), remember=False)
        logits, after = self.model.step_(tokens, given, remember=False, **found)
        _keep(after, given)
        return logits

    def _recalled(self, tokens: Tensor, state: State, remember: bool) -> tuple[dict, State]:
        """What is found in the tables, as an argument of the model, and the state without them."""
        if self.recall is None:
            return {}, state
        parts = state.round(RECALL)
        if self.common is not None:
            parts["table"], remember = self.common, False
        found = self.recall.find_(tokens, parts, None, None, remember)
        return {"found": found}, State({key: t for key, t in state.items() if key[0] != RECALL})


def _keep(after: State, given: State) -> None:
    """Put a state in the place of another, where a model has made a new one."""
    for key, t in after.items():
        if t is not given[key] and t.data_ptr() != given[key].data_ptr():
            given[key].copy_(t)


class Rows:
    """The states of at most `most` streams, side by side in the first rows of tensors that are made once.

    A stream joins and leaves at the cost of copying one row, however many there are.

    >>> rows = Rows(State({(0, "ssm"): torch.zeros(1, 2)}), most=4)
    >>> for n in (1.0, 2.0, 3.0):
    ...     rows.join(State({(0, "ssm"): torch.full((1, 2), n)}))
    >>> rows.leave(0)[0, "ssm"].tolist(), rows.all()[0, "ssm"].tolist()
    ([[1.0, 1.0]], [[3.0, 3.0], [2.0, 2.0]])
    """

    def __init__(self, first: State, most: int):
        self.tensors = {key: t.new_empty(most, *t.shape[1:]) for key, t in first.items()}
        self.most, self.count = most, 0

    def all(self) -> State:
        """The streams there are; what changes it changes them."""
        return State({key: t[: self.count] for key, t in self.tensors.items()})

    def begin(self, first: State, streams: int) -> State:
        """Give streams that have read nothing the next rows, each in the state `first` of one; these rows."""
        at, self.count = self.count, self.count + streams
        rows = State({key: t[at : self.count] for key, t in self.tensors.items()})
        for key, t in rows.items():
            t.copy_(first[key].expand_as(t))
        return rows

    def join(self, one: State) -> None:
        """Copy the state of one stream behind the others."""
        for key, t in self.tensors.items():
            t[self.count].copy_(one[key][0])
        self.count += 1

    def leave(self, row: int, keep: bool = True) -> State | None:
        """Take a stream out, and put the last one in its place; its state, or None where it is not to be kept."""
        taken = State({key: t[row : row + 1].clone() for key, t in self.tensors.items()}) if keep else None
        self.count -= 1
        if row != self.count:
            for t in self.tensors.values():
                t[row].copy_(t[self.count])
        return taken
