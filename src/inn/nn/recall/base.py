"""The protocol of recall."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.nn.direct import passed_by
from inn.nn.population import NeuronLinear
from inn.ops.derivatives import transformed
from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn.config.models import INNConfig

Parts = dict[str, Tensor]
Found = dict[str, Tensor]
"""What was looked up: whole numbers `[B, T, N, M, ...]` by name, `NOTHING` where nothing is known."""
NOTHING = -1


@passed_by("forward", "read_")
class Recall(nn.Module, ABC):
    """A memory of the very symbols that a stream has read, beside the memories that blur them into a state.

    Each neuron looks up what it has read before (`find_`, without a gradient), and what it makes of what it finds
    (`tell`) is added to its input. What was read is state, not weights: it fills as the stream is read, and takes the
    same room however long the stream. In training a stream now and then forgets it all, or the model would lean on
    tables that are full and be lost at the start of a text.

    State parts are each `[B, N, ...]`: `table` `[B, N, M, ...]`, what was read, by neuron and context, M contexts each;
    and `recent` `[B, N, L]`, the last symbols, oldest first, the same for all neurons. There may be others.

    Args:
        config: of the model; the options of recall are `config.recall`, an instance of its class's `Options`.

    Attributes:
        Options: the dataclass of its options.
        by_symbol: the names of parameters that have a row for each symbol that is read.
        joined: the options in which models that are merged may differ; a kind with some defines `beside`.
        shares: whether several streams can fill one set of tables, as `together` and `find_` say.
        forget: the probability that a stream forgets before a training window: the option of that name, 0 without one.
        drawn: random numbers in [0, 1) that decide which rows forget, one a row, drawn beforehand by whoever knows of
            more rows than this process has; used up by the rows that come next. None draws them here.
        into: the map to the neurons' width, the last thing that what is found goes through, without a bias.
    """

    Options: type[PartOptions] = PartOptions
    by_symbol: ClassVar[tuple[str, ...]] = ()
    joined: ClassVar[tuple[str, ...]] = ()
    shares: ClassVar[bool] = False
    drawn: Tensor | None = None
    into: NeuronLinear

    def __init__(self, config: INNConfig):
        super().__init__()
        self.forget = float(getattr(config.recall, "forget", 0.0))

    @abstractmethod
    def initial_state(self, batch: int) -> Parts:
        """Nothing read, nothing known."""

    def together(self, streams: int) -> Parts:
        """`initial_state` of streams that fill one set of tables together: the part `table` is there once.

        Raises `InputError` for a kind that does not share.
        """
        if not self.shares:
            raise InputError(f"streams cannot share the tables of {type(self).__name__}; give each its own")
        one = self.initial_state(1)
        return {name: t if name == "table" else torch.cat([t] * streams) for name, t in one.items()}

    @abstractmethod
    def after_reading(self, symbols: Tensor) -> Parts:
        """What one stream can recall after a text, on the CPU: the tables of `symbols` `[n]`, and no last symbols."""

    @abstractmethod
    def find_(
        self,
        tokens: Tensor,
        state: Parts,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
    ) -> Found:
        """Read `tokens` `[B, T]`, change the state in place, and return what is found.

        What is found at a step is what is known after its symbol, and depends on no later one. Where `reset` `[B, T]`
        is true a stream has read nothing before that step; where `mask` `[B, T]` is false nothing is read, and what is
        found there does not count. Without `remember` the part `table` stays as it was.

        Where a kind `shares`, the part `table` may be of one stream for all, as `together` makes it: at each step the
        streams read their symbols into it one after the other, the first stream first, and each finds what all before
        it have read.
        """

    @abstractmethod
    def tell(self, found: Found) -> Tensor:
        """What each neuron takes in of what it found, `[B, T, N, D]`."""

    @classmethod
    def voter(cls, config: INNConfig) -> Voter | None:
        """What votes on the next symbol by what was found, beside the head: None, unless a kind has such a module."""
        return None

    @abstractmethod
    def contexts(self, neuron: int) -> list[Any]:
        """What a neuron looks up, M contexts as people call them: the numbers of symbols, or names."""

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol, by part; looking up is counted as free."""

    def forward(
        self,
        tokens: Tensor,
        state: Parts | None,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
        found: Found | None = None,
    ) -> tuple[Tensor, Parts, Found]:
        """What each neuron takes in, `[B, T, N, D]`, the new state, and what was found; `state` stays as it was.

        In training, streams may forget. With `found` nothing is looked up, and there is no state.
        """
        if found is not None:
            return self.tell(found), {}, found
        state = self.initial_state(tokens.shape[0]) if state is None else {name: t.clone() for name, t in state.items()}
        if transformed():  # under `vmap` tables that change have to be as many as the texts that change them
            given = [t for t in (tokens, reset, mask) if t is not None]
            none = sum((t[:, :1].long() * 0 for t in given), torch.zeros(1, 1, dtype=torch.long, device=tokens.device))
            state = {name: t + none.view(-1, *[1] * (t.ndim - 1)).to(t.dtype) for name, t in state.items()}
        if self.training and self.forget:
            forgets = self._chances(tokens.shape[0], tokens.device) < self.forget
            reset = torch.zeros_like(tokens, dtype=torch.bool) if reset is None else reset.clone()
            reset[:, 0] |= forgets
        found = self.find_(tokens, state, reset, mask, remember)
        return self.tell(found), state, found

    def read_(
        self,
        tokens: Tensor,
        state: Parts,
        reset: Tensor | None = None,
        mask: Tensor | None = None,
        remember: bool = True,
    ) -> tuple[Tensor, Found]:
        """`forward` that changes the state in place: what each neuron takes in, and what was found."""
        found = self.find_(tokens, state, reset, mask, remember)
        return self.tell(found), found

    def _chances(self, rows: int, device: torch.device) -> Tensor:
        if self.drawn is None or len(self.drawn) < rows:
            return torch.rand(rows, device=device)
        chances, self.drawn = self.drawn[:rows], self.drawn[rows:]
        return chances

    def proven(self, parts: Parts) -> Parts:
        """The state parts with those entries alone that were right when they were last looked up.

        Raises `InputError` for a kind that does not know.
        """
        raise InputError(f"{type(self).__name__} does not know which of its entries were right; keep all, or none")

    @torch.no_grad()
    def silence(self) -> None:
        """Let what is found count nothing until training says otherwise."""
        self.into.weight.zero_()

    @classmethod
    def of_neurons(cls, options: Any, whose: Sequence[tuple[Any, int, int]]) -> Any:
        """These options, for a population each of whose neurons recalls what a neuron of some model does.

        `whose` has for each new neuron a model's options, its number of neurons, and which of them it is; a model may
        be of kind `none`. Raises `InputError` where options cannot differ, as they cannot unless a kind defines this.
        """
        if other := next((own for own, _, _ in whose if own != options), None):
            raise InputError(f"neurons that recall by {other} and by {options} cannot be in one model")
        return options

    def beside(self, options: Any, others: Sequence[Any]) -> Any:
        """The options of a merged model that holds what `others`, this one among them, make of what they find.

        Raises `InputError` for a kind that does not define it, and `take_`.
        """
        raise InputError(f"models cannot be merged: recall '{options.kind}' does not say how; give models without it")

    def take_(self, parts: Sequence[tuple[Any, int]]) -> None:
        """Take the weights of models that are merged into this one: of each its recall, or None, and its neurons."""
        raise NotImplementedError


class Voter(nn.Module, ABC):
    """What votes on the next symbol by what the neurons have found, beside the head.

    Parameters that are of neurons have them on their first axis; maps of what the head reads are named in `of_readout`.
    All others are of the whole population. A neuron that has found nothing votes nothing and changes no vote of others.
    So neurons can be taken out of a model, and put in (`inn.surgery`).

    Attributes:
        of_readout: the names of its linear maps, with a bias, of `hidden`.
    """

    of_readout: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, found: Found, hidden: Tensor) -> Tensor:
        """What is added to the logits, `[B, T, vocab]`, of what was found and of `hidden` `[B, T, normed_width]`."""

    @abstractmethod
    def flops(self) -> dict[str, float]:
        """Forward FLOPs for one symbol, by part."""

    def silence(self, neurons: Sequence[int]) -> None:
        """Let these neurons vote nothing, and change no vote of others, until training says otherwise.

        Raises `InputError` unless a kind defines this.
        """
        raise InputError(f"a model with votes of a {type(self).__name__} cannot have more neurons; it has no `silence`")
