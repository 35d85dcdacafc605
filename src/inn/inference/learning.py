"""Learning while reading: a model that takes a step of gradient descent after every few symbols that it has read.

Dynamic evaluation (Mikolov et al. 2010; Krause et al. 2018, arXiv 1709.07432), and what neural compressors do that
begin with nothing (lstm-compress, Knoll 2015; NNCP, Bellard 2019).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.models.inn import RECALL
from inn.models.sequence import SequenceModel
from inn.nn.modes import device_of
from inn.nn.recall.base import Found, Parts, Recall
from inn.nn.state import State
from inn.system.errors import InputError

_BETAS = (0.9, 0.99)
_CLIP = 1.0


@dataclass(frozen=True)
class Learning:
    """How a model learns while it reads."""

    rate: float = 0.01
    """The learning rate."""
    window: int = 16
    """Symbols of each stream after which a step is taken; gradients reach back no further."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise InputError(f"a model learns at a rate of 0 or more, below 1, not {self.rate}")
        if not 1 <= self.window < 1 << 16:
            raise InputError(f"a model learns after 1 to 65,535 symbols of each stream, not {self.window}")


class Reader:
    """A model that reads streams on and on: it keeps their state, and changes it in place.

    Args:
        model: what reads; it stays in the mode that it is in.
        streams: that are read side by side.
        state: what they begin with; None starts afresh.
        together: whether the streams fill one set of tables with what they read (`Recall.together`), where the model
            has a recall that can; only without a `state`.
    """

    def __init__(self, model: SequenceModel, streams: int = 1, state: State | None = None, *, together: bool = False):
        self.model, self.streams = model, streams
        recall = getattr(model, "recall", None)
        self.recall: Recall | None = recall if isinstance(recall, Recall) else None
        self.tables: Parts = {}
        if self.recall is not None:
            if state is None:
                together = together and self.recall.shares
                self.tables = self.recall.together(streams) if together else self.recall.initial_state(streams)
            else:  # tables apart from the rest: what is found in them is found once
                self.tables = {part: t.clone() for part, t in state.round(RECALL).items()}
                state = State({key: t.clone() for key, t in state.items() if key[0] != RECALL})
        self.state = state

    def look_up(self, tokens: Tensor) -> Found | None:
        """What the model recalls at symbols `[B, T]`, which go into its tables; None where it recalls nothing."""
        return None if self.recall is None else self.recall.find_(tokens, self.tables)

    def step(self, tokens: Tensor) -> Tensor:
        """Read a symbol of each stream `[B]`: logits `[B, vocab]` of the next ones."""
        return self.stepped(tokens, self.look_up(tokens[:, None]))

    def stepped(self, tokens: Tensor, found: Found | None) -> Tensor:
        logits, self.state = self.model.step_(tokens, self.state, **_told(found))
        return logits


class Learner(Reader):
    """A `Reader` of a model of its own, a copy of the given one, that learns from what it has read.

    After each full window of every stream it takes one step of Adam (betas 0.9 and 0.99, gradients of a norm above 1
    shortened) on the mean nats of the window's predictions, each made before its symbol was read. Windows count from
    the first symbol on, so that it does not matter in which pieces a text is read; what is left of a window waits. The
    state is carried, gradients are not. The model is in evaluation mode: nothing is dropped, nothing forgotten.

    Args:
        model: what it begins as; never changed.
        learning: how it learns.
        streams, state, together: as in `Reader`.

    Attributes:
        model: what it has become.

    >>> from inn import INN
    >>> learner = Learner(INN(vocab=4, neurons=2, width=8, rounds=1, slots=64), Learning(rate=0.01, window=8))
    >>> logits = learner.read(torch.tensor([[0, 1, 2, 3] * 25]))
    >>> costs = F.cross_entropy(logits[0, :-1], torch.tensor(([0, 1, 2, 3] * 25)[1:]), reduction="none")
    >>> bool(costs[-10:].mean() < costs[:10].mean())
    True
    """

    def __init__(
        self,
        model: SequenceModel,
        learning: Learning = Learning(),
        streams: int = 1,
        state: State | None = None,
        *,
        together: bool = False,
    ):
        own = copy.deepcopy(model).eval()
        super().__init__(own, streams, state, together=together)
        self.learning = learning
        fused = device_of(own).type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(own.parameters(), lr=learning.rate, betas=_BETAS, fused=fused)
        self._start = self._kept()
        self._read: list[Tensor] = []  # of this window, and what was found there
        self._found: list[Found | None] = []

    def read(self, tokens: Tensor) -> Tensor:
        """Read symbols `[B, T]` of each stream: logits `[B, T, vocab]`, at each symbol of the next one."""
        out, window = [], self.learning.window
        while tokens.shape[1]:
            room = self._room(tokens)
            if room == window < tokens.shape[1]:  # what follows the window is here: it is learned as it is read
                now, tokens = tokens.split([window, tokens.shape[1] - window], 1)
                out.append(self._descend(now, self.look_up(now), tokens[:, :1]))
                continue
            now, tokens = tokens.split([n := min(room, tokens.shape[1]), tokens.shape[1] - n], 1)
            found = self._note(now)
            with torch.no_grad():
                logits, self.state = self.model(now, self.state, **_told(found))
            out.append(logits)
        return torch.cat(out, 1)

    def step(self, tokens: Tensor) -> Tensor:
        self._room(tokens[:, None])
        return self.stepped(tokens, self._note(tokens[:, None]))

    def _room(self, tokens: Tensor) -> int:
        """How many symbols the window has room for; where it is full the model learns from it, and a new one begins."""
        left = self.learning.window - sum(t.shape[1] for t in self._read)
        if left:
            return left
        self._learn(tokens[:, :1])
        return self.learning.window

    def _note(self, tokens: Tensor) -> Found | None:
        found = self.look_up(tokens)
        self._read.append(tokens)
        self._found.append(found)
        return found

    def _learn(self, after: Tensor) -> None:
        """Take a step on the window that was read, of which the last symbol is followed by `after` `[B, 1]`."""
        found = None
        if self._found[0] is not None:
            found = {name: torch.cat([each[name] for each in self._found if each], 1) for name in self._found[0]}
        self._descend(torch.cat(self._read, 1), found, after)

    def _descend(self, tokens: Tensor, found: Found | None, after: Tensor) -> Tensor:
        """Take a step on a whole window `[B, T]`, and begin the next one; the logits before the step."""
        with torch.inference_mode(False), torch.enable_grad():
            logits, state = self.model(tokens, self._start, **_told(found))
            targets = torch.cat((tokens[:, 1:], after), 1)
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
            self.optimizer.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self.state = state.detach()
        self._start, self._read, self._found = self._kept(), [], []
        return logits.detach()

    def _kept(self) -> State | None:
        return None if self.state is None else self.state.clone()


def _told(found: Found | None) -> dict[str, Found]:
    return {} if found is None else {"found": found}
