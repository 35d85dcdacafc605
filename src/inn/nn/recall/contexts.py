"""Contexts: which of the symbols that a stream has read last a count belongs to; one class of options per kind.

Free of PyTorch, so that help need not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from inn.config.parts import Options, settled
from inn.registry import CONTEXTS
from inn.system.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

REACH = 256
"""Symbols that a context can look back on, at most."""


@dataclass
class Context(Options):
    """What a stream has read last, seen in one way. A kind of your own is a subclass with a `reach` and `keys`.

    >>> Last(length=3).reach
    3
    """

    worded: ClassVar[bool] = False
    """Whether it has to know which symbols make words."""

    def __init_subclass__(cls) -> None:
        cls.Options = cls  # its options are itself  # type: ignore[attr-defined]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach > REACH:
            raise InputError(f"a context of {self.reach} symbols is too long; look back on at most {REACH}")

    @property
    def reach(self) -> int:
        """The number of last symbols that it looks at."""
        raise NotImplementedError(f"{type(self).__name__} does not say its reach")

    @property
    def spec(self) -> tuple[int, int, int] | None:
        """What op `keys` knows it by; None for a kind of your own."""
        return None

    def keys(self, histories: Tensor) -> Tensor:
        """A number `[...]` int64 of each history `[..., L]` int64, the last L symbols, oldest first, -1 for none.

        Equal numbers are one context. It is asked of a context without a `spec`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define keys")


@dataclass
class Last(Context):
    """The last symbols."""

    length: int = 3
    """How many."""
    skip: int = 0
    """How many of the newest are left out: what stands there may be anything."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.skip < 0:
            raise InputError(
                f"a context has a length of at least 1 and skips at least 0, not {self.length}, {self.skip}"
            )
        super().__post_init__()

    @property
    def reach(self) -> int:
        return self.length + self.skip

    @property
    def spec(self) -> tuple[int, int, int]:
        return 0, self.skip, self.length


@dataclass
class Word(Context):
    """The word so far, and whole words before it."""

    words: int = 0
    """How many whole words before: 0, 1 or 2."""
    worded = True

    def __post_init__(self) -> None:
        if self.words not in (0, 1, 2):
            raise InputError(f"context 'word' takes 0, 1 or 2 words before, not {self.words}")
        super().__post_init__()

    @property
    def reach(self) -> int:
        return 24 * (self.words + 1)

    @property
    def spec(self) -> tuple[int, int, int]:
        return 1, self.words, 0


@dataclass
class Column(Context):
    """The place in the line, and the symbol above it: for tables and logs."""

    newline: int = 10
    """The symbol that ends a line."""

    @property
    def reach(self) -> int:
        return REACH

    @property
    def spec(self) -> tuple[int, int, int]:
        return 2, self.newline, 0


def context(given: Any) -> Context:
    """A context as people write it: a number of last symbols, the name of a kind, or its options.

    >>> context(3), context({"kind": "word", "words": 1}).spec
    (Last(kind='last', length=3, skip=0), (1, 1, 0))
    """
    if isinstance(given, int) and not isinstance(given, bool):
        given = {"kind": "last", "length": given}
    found = settled("recall.contexts", CONTEXTS, given)
    if not isinstance(found, Context):
        raise InputError(f"context '{found.kind}' is no subclass of inn.Context; give it a reach and keys")
    return found


def shown(one: Context) -> int | str:
    """A context in few words.

    >>> shown(context(3)), shown(context({"kind": "word", "words": 1}))
    (3, 'word (words 1)')
    """
    own = {name: value for name, value in vars(one).items() if name != "kind"}
    if one.kind == "last" and not own["skip"]:
        return own["length"]
    return one.kind + (f" ({', '.join(f'{name} {value}' for name, value in own.items())})" if own else "")
