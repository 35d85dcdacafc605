"""What every model of the library has in common: the graph of neurons and its rivals share one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from inn.data.examples import IGNORED
from inn.models.generate import generate
from inn.models.names import filed
from inn.nn.arguments import Checked, by_forward, one_each, symbols
from inn.nn.starting import reset_parameters
from inn.nn.state import State

if TYPE_CHECKING:
    from inn.data.vocabulary import Vocabulary


class SequenceModel(Checked, ABC):
    """An autoregressive model of symbol sequences: logits of the next symbol, and a state to continue from.

    Models of signals (`inn.models.signal.SignalModel`) read vectors `[B, T, F]` instead, and tell what their head says.

    Subclasses take their configuration dataclass and implement `forward`, `initial_state` and `flops`. What `forward`
    and `step_` are called with is checked before they see it (`inn.nn.arguments`): tokens are int64 in the vocabulary,
    reset and mask bool `[B, T]`, the state is the model's own, and neither batch nor time is empty.

    Attributes:
        config: the dataclass the model was built from (`config.vocab` symbols).
        vocabulary: how symbols read as text; set by `inn.load` and by training, None for a bare model.
        experience: the state that generation starts from, with what the model can recall of its training text;
            set by `inn.load`, None for a bare model and for models that recall nothing.
    """

    vocabulary: Vocabulary | None = None
    experience: State | None = None

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    def check_given(self, given: Any) -> Tensor:
        tokens = symbols(given)
        self.check_device("tokens", tokens)
        return tokens

    @abstractmethod
    def forward(
        self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Predict the next symbol at every position.

        Args:
            tokens: `[B, T]` whole numbers in `[0, vocab)`; anything where the mask is false.
            state: what an earlier call returned; None starts afresh. Never changed in place.
            reset: `[B, T]` bool, or numbers 0 and 1; where true the state starts afresh before this position.
            mask: `[B, T]`, the same; where false the position is padding and the state passes through unchanged.

        Returns:
            logits `[B, T, vocab]` and the state after the last position, whose `penalties` a trainer adds to the loss.
            Any split of the time axis gives the same logits as one pass.

        Raises `InputError` for tokens, states, masks and resets that do not fit.
        """

    def loss(self, y: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss `[]` in nats of what `forward` gave, summed over the targets that count.

        Args:
            y: `[B, T, vocab]`.
            targets: `[B, T]` int64; -100 does not count.
            weights: `[B]`, what the targets of each row count; None: 1.
        """
        ignored = targets == IGNORED
        if not ignored.is_cpu or bool(ignored.any()):  # a NaN there would go round the loss and into the gradients
            y = y.masked_fill(ignored[..., None], 0.0)
        scores, symbols = y.float().flatten(0, 1), targets.flatten()
        if weights is None:
            return F.cross_entropy(scores, symbols, ignore_index=IGNORED, reduction="sum")
        each = self.losses(y, targets)
        return (each.sum(1) * weights.to(each.dtype)).sum()

    def losses(self, y: Tensor, targets: Tensor) -> Tensor:
        """The loss of each step in nats, `[B, T]`, summed over what counts at it; arguments as in `loss`."""
        scores = y.float().flatten(0, 1)
        return F.cross_entropy(scores, targets.flatten(), ignore_index=IGNORED, reduction="none").view_as(targets)

    def counted(self, targets: Tensor) -> Tensor:
        """How many targets count, `[]`."""
        return (targets != IGNORED).sum()

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before their first symbol, on the model's device."""

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs per symbol by part (matrix products, scan, routing; a multiply-add counts two)."""

    def step(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict after one symbol per stream: `[B]` -> logits `[B, vocab]` and the state; `forward` with T = 1."""
        logits, after = self(one_each(tokens)[:, None], state)
        return logits[:, 0], after

    @by_forward
    def step_(self, tokens: Tensor, state: State | None = None, *, remember: bool = True) -> tuple[Tensor, State]:
        """`step` that uses up the state it is given: what comes back may be the same one, changed in place.

        Without `remember` the symbols are not to be recalled later: what a model writes is no evidence of what follows
        what, and one that believed itself would repeat itself. Models that recall nothing have nothing to heed.
        """
        return self.step(tokens, state)

    def after_reading(self, symbols: Tensor) -> State | None:
        """The state of one stream that can recall a text `[n]` and remembers nothing else; None where none can."""
        return None

    def reset_parameters(self) -> None:
        """Start anew, as a new model starts; also where `to_empty` has just made room for the weights."""
        reset_parameters(self)

    def parameters_by_part(self) -> dict[str, int]:
        """Parameters by top-level part; a tied head counts once, with the embedding."""
        parts: dict[str, int] = {}
        for name, p in self.named_parameters():  # named_parameters yields a tied weight once
            part = filed(name).split(".")[0]
            parts[part] = parts.get(part, 0) + p.numel()
        return parts

    @property
    def num_parameters(self) -> int:
        """Trainable numbers, a tied weight counted once."""
        return sum(self.parameters_by_part().values())

    @property
    def training_flops(self) -> float:
        """Training FLOPs per symbol: forward, and backward counted as twice the forward."""
        return 3 * sum(self.flops().values())

    def generate(self, prompt: str = "", tokens: int | None = None, **options: Any) -> Iterator[str]:
        """Continue `prompt`, one piece of text per symbol, in constant memory; see `inn.models.generate.generate`."""
        return generate(self, prompt, tokens, **options)
