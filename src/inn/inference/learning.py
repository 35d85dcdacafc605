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

_BETAS, _CLIP = (0.9, 0.99), 1.0
_NEW = 10
"""Of the first steps the average forgets more, or it would long be what the model was before it learned anything."""


@dataclass(frozen=True)
class Learning:
    """How a model learns while it reads."""

    rate: float = 0.002
    """The learning rate."""
    window: int = 16
    """Symbols of each stream after which a step is taken; gradients reach back no further."""
    average: float = 0.98
    """What predicts is a moving average of the weights, which keeps so much of itself at a step; 0: the weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise InputError(f"a model learns at a rate of 0 or more, below 1, not {self.rate}")
        if not 1 <= self.window < 1 << 16:
            raise InputError(f"a model learns after 1 to 65,535 symbols of each stream, not {self.window}")
        if not 0 <= self.average < 1:
            raise InputError(f"a model learns with an average of 0 or more, below 1, not {self.average}")


def shares(model: SequenceModel) -> bool:
    """Whether the streams that a model reads can share what it recalls."""
    recall = getattr(model, "recall", None)
    return isinstance(recall, Recall) and recall.shares


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
                together = together and shares(model)
                self.tables = self.recall.together(streams) if together else self.recall.initial_state(streams)
            else:  # tables apart from the rest: what is found in them is found once
                self.tables = {part: t.clone() for part, t in state.round(RECALL).items()}
                state = State({key: t.clone() for key, t in state.items() if key[0] != RECALL})
        self.state = state

    def beside(self) -> Reader:
        """A reader of other streams, which goes on from where this one stands; both fill the same tables."""
        new = copy.copy(self)
        new.tables = {part: t if part == "table" else t.clone() for part, t in self.tables.items()}
        new.state = None if self.state is None else self.state.clone()
        return new

    def look_up(self, tokens: Tensor) -> Found | None:
        """What the model recalls at symbols `[B, T]`, which go into its tables; None where it recalls nothing."""
        return None if self.recall is None else self.recall.find_(tokens, self.tables)

    def read(self, tokens: Tensor) -> Tensor:
        """Read symbols `[B, T]`, T >= 1, of each stream: logits `[B, T, vocab]`, at each symbol of the next one."""
        logits, self.state = self.model(tokens, self.state, **_told(self.look_up(tokens)))
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Read a symbol of each stream `[B]`: logits `[B, vocab]` of the next ones."""
        return self.stepped(tokens, self.look_up(tokens[:, None]))

    def stepped(self, tokens: Tensor, found: Found | None) -> Tensor:
        """`step`, of symbols that were looked up."""
        logits, self.state = self.model.step_(tokens, self.state, **_told(found))
        return logits


class Learner(Reader):
    """A `Reader` of a model of its own, a copy of the given one, that learns from what it has read.

    After each full window of every stream it takes one step of Adam (betas 0.9 and 0.99, gradients of a norm above 1
    shortened) on the mean nats of the window, each prediction made before its symbol was read. What predicts, and
    carries the state, is a moving average of the weights that learn: single steps on few symbols are noise for the
    most part (Polyak & Juditsky 1992). Windows count from the first symbol on, so that it does not matter in which
    pieces a text is read; what is left of a window waits. Gradients are not carried. Both models are in evaluation
    mode: nothing is dropped, nothing forgotten.

    Args:
        model: what it begins as; never changed.
        learning: how it learns.
        streams, state, together: as in `Reader`.

    Attributes:
        model: what it has become, and predicts with.
        pupil: what learns; the model itself where there is no average.

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
        own = copy.deepcopy(model, {id(model.experience): None}).eval()  # without tables that are not read
        super().__init__(own, streams, state, together=together)
        self.learning, self.steps = learning, 0
        self.pupil = copy.deepcopy(own) if learning.average else own
        fused = device_of(own).type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(self.pupil.parameters(), lr=learning.rate, betas=_BETAS, fused=fused)
        self._start = self._kept()
        self._read: list[Tensor] = []  # of this window, and what was found there
        self._found: list[Found | None] = []

    def read(self, tokens: Tensor) -> Tensor:
        out = []
        while tokens.shape[1]:
            now, tokens = tokens.split([n := min(self._room(tokens), tokens.shape[1]), tokens.shape[1] - n], 1)
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
        tokens = torch.cat(self._read, 1)
        found = None
        if self._found[0] is not None:
            found = {name: torch.cat([each[name] for each in self._found if each], 1) for name in self._found[0]}
        with torch.inference_mode(False), torch.enable_grad():
            logits, _ = self.pupil(tokens, self._start, **_told(found))
            targets = torch.cat((tokens[:, 1:], after), 1)
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
            self.optimizer.zero_grad()
            loss.backward()
        weights = list(self.pupil.parameters())
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        self.optimizer.step()
        self.steps += 1
        if self.pupil is not self.model:
            share = 1 - min(self.learning.average, self.steps / (self.steps + _NEW))
            with torch.no_grad():
                for mean, weight in zip(self.model.parameters(), weights):
                    mean.lerp_(weight, share)
        self._start, self._read, self._found = self._kept(), [], []

    def _kept(self) -> State | None:
        return None if self.state is None else self.state.clone()


def _told(found: Found | None) -> dict[str, Found]:
    return {} if found is None else {"found": found}
