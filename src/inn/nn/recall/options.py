"""The options of the kinds of recall that come with the library; free of PyTorch, so that help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from math import ceil
from typing import Any

from inn.config.checks import check_fraction
from inn.config.parts import Options
from inn.nn.recall.contexts import Context, context
from inn.system.errors import InputError


class _TablesOptions(Options):
    """What options of tables for contexts have in common."""

    contexts: list[Any]

    def settled(self, **least: int) -> None:
        """Raise `InputError` for no context, for numbers below these, and for a `forget` that is no chance."""
        if not self.contexts:
            raise InputError("recall.contexts lists no context; set recall none")
        for name, bound in {
            "width": 1,
            "slots": 4,
            **least,
        }.items():  # of fewer slots, contexts take each other's place
            if getattr(self, name) < bound:
                raise InputError(f"recall.{name} must be at least {bound}, not {getattr(self, name)}")
        check_fraction(self, "forget")

    def check(self, graph: Any) -> None:
        if graph.vocab > 2**21:
            raise InputError(
                f"recall '{self.kind}' knows at most 2,097,152 symbols, not {graph.vocab}; set recall none"
            )

    def each(self, neurons: int) -> int:
        """How many contexts each of so many neurons has."""
        return ceil(len(self.contexts) / neurons)

    def of_neuron(self, neurons: int, n: int, each: int) -> list[Any]:
        """The contexts of neuron n of N: n, n + N, ... of the list, which starts again at its end."""
        return [self.contexts[(n + j * neurons) % len(self.contexts)] for j in range(each)]

    def of_more(self, neurons: int, count: int) -> list[_TablesOptions]:
        """Options of each of `count` neurons that join N: the usual contexts that none of these has, then in turn."""
        each = self.each(neurons)
        had = [one for n in range(neurons) for one in self.of_neuron(neurons, n, each)]
        spare = chain((one for one in type(self)().contexts if one not in had), cycle(self.contexts))
        return [replace(self, contexts=[*islice(spare, each)]) for _ in range(count)]


@dataclass
class LastOptions(_TablesOptions):
    """Which symbol followed the last time, after contexts of some lengths: an n-gram cache."""

    contexts: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 7, 8, 10])
    """Context lengths in symbols, given to the neurons in turn; a list in the place of a kind is short for these."""
    width: int = 24
    """Width of an entry of the cache, before it is mapped to a neuron's width."""
    slots: int = 65536
    """Contexts in the cache of a neuron; later ones replace earlier ones."""
    forget: float = 0.004
    """Probability of clearing a stream's cache before a training window, to learn short texts too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for length in self.contexts:
            if not 1 <= length <= 64:
                raise InputError(f"recall lists contexts of 1 to 64 symbols, not {length}")
        self.settled()


@dataclass
class CountsOptions(_TablesOptions):
    """What followed, and how often, after contexts of many kinds; it also votes on the next symbol."""

    contexts: list[Any] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7, 8])
    """Contexts, given to the neurons in turn: numbers of last symbols, kinds, or kinds with their options."""
    followers: int = 30
    """Followers that a slot has room for."""
    slots: int = 65536
    """Contexts in a table; of two that want the same place the one that came more often stays."""
    width: int = 16
    """Width of a symbol's vector, before what was found is mapped to a neuron's width."""
    letters: list[int] = field(default_factory=list)
    """The symbols that make words; of a vocabulary of 256 ASCII letters and all from 128 on, where none are given."""
    forget: float = 0.004
    """Probability of clearing a stream's tables before a training window, to learn short texts too."""

    def __post_init__(self) -> None:
        self.contexts = [one if isinstance(one, Context) else context(one) for one in self.contexts]
        super().__post_init__()
        self.settled(followers=1)

    def check(self, graph: Any) -> None:
        super().check(graph)
        if any(one.worded for one in self.contexts):
            self.letters_of(graph.vocab)
        elif self.letters:
            raise InputError("recall.letters do nothing without a context of words; add one, or leave them out")

    def letters_of(self, vocab: int) -> list[int]:
        """The symbols that make words; raises `InputError` where they are not known."""
        if outside := [s for s in self.letters if not 0 <= s < vocab]:
            raise InputError(f"recall.letters names symbol {outside[0]}, and there are {vocab}")
        if self.letters:
            return self.letters
        if vocab == 256:
            return [*range(65, 91), *range(97, 123), *range(128, 256)]
        raise InputError(
            f"context 'word' has to know which of {vocab} symbols make words; give recall.letters, or other contexts"
        )
