"""Vocabularies of tasks: symbols by their names, and what a signal's channels and outputs are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from inn.data.base import Decoder, Vocabulary, check_unknown, utf8_text
from inn.system.errors import InputError, nearest


class Names(Vocabulary):
    """Symbols by name, with a space between two of them.

    >>> Names(["0", "1"]).encode("1 0 1").tolist(), Names(["0", "1"]).decode([1, 0])
    ([1, 0, 1], '1 0')
    """

    kind, unit, metric = "names", "step", "bits"
    boundary, lossy = "words", False

    def __init__(self, names: Iterable[str]):
        """`names` in their order, without white space."""
        self._names = list(names)
        self._ids = {name: i for i, name in enumerate(self._names)}
        if not self._names or len(self._ids) < len(self._names):
            raise InputError("a vocabulary of names needs names, each of them once")
        for name in self._names:
            if name.split() != [name] or not name.isprintable():
                raise InputError(f"the name of a symbol must be printable, without white space, unlike {name!r}")

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> NoReturn:
        raise InputError("names are those of a task and not made of a text; choose another data.vocabulary")

    @property
    def size(self) -> int:
        return len(self._names)

    @property
    def context_free(self) -> bool:
        return False  # a space is between names, not of one

    def encode(self, text: str | bytes, unknown: str = "error") -> np.ndarray:
        check_unknown(unknown)
        names = utf8_text(text).split()
        if unknown == "skip":
            names = [name for name in names if name in self._ids]
        for name in names:
            if name not in self._ids:
                raise InputError(f"there is no symbol '{name}'{nearest(name, self._names)}")
        return np.array([self._ids[name] for name in names], self.dtype)

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        return " ".join(self._names[i] for i in self.checked(symbols).tolist())

    def decoder(self) -> Decoder:
        return _NamesDecoder(self._names)

    def symbol(self, i: int) -> str:
        return self._names[int(self.checked([i])[0])]

    def symbols(self) -> list[str]:
        return list(self._names)

    @classmethod
    def from_symbols(cls, symbols: Any) -> Names:
        return cls(symbols)


class _NamesDecoder:
    def __init__(self, names: list[str]) -> None:
        self._names, self._space = names, ""

    def feed(self, symbol: int) -> str:
        text, self._space = self._space + self._names[symbol], " "
        return text

    def flush(self) -> str:
        return ""


class Channels(Vocabulary):
    """What a signal has in place of symbols: channels that are read, and classes or values that are told from them.

    Its symbols are the classes or, where values are told, those. There is no text that it could be written as: `encode`
    raises `InputError`.
    """

    kind, unit, metric = "channels", "step", "bits"
    lossy = False

    def __init__(self, channels: Iterable[str], classes: Iterable[str] = (), values: Iterable[str] = ()):
        self.channels, self.classes, self.values = list(channels), list(classes), list(values)
        for names in (self.channels, self.classes, self.values):
            if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
                raise InputError(f"channels, classes and values have names, each of them once, unlike {names}")
        if not self.channels:
            raise InputError("a signal needs a channel at least")

    @classmethod
    def learn(cls, blocks: Iterable[str], units: int) -> NoReturn:
        raise InputError("channels are those of a signal and not made of a text; choose another data.vocabulary")

    @property
    def head(self) -> str:
        """What is predicted: `classes`, `values`, or the `next` step."""
        return "classes" if self.classes else "values" if self.values else "next"

    @property
    def outputs(self) -> list[str]:
        """The names of what is predicted."""
        return self.classes or self.values or self.channels

    @property
    def size(self) -> int:
        return len(self.outputs)

    def encode(self, text: str | bytes, unknown: str = "error") -> NoReturn:
        raise InputError("the model reads a signal, numbers and not text; give it data as csv:PATH or npz:PATH")

    def decode(self, symbols: Sequence[int] | np.ndarray) -> str:
        return " ".join(self.outputs[i] for i in self.checked(symbols).tolist())

    def decoder(self) -> Decoder:
        return _NamesDecoder(self.outputs)

    def symbol(self, i: int) -> str:
        return self.outputs[int(self.checked([i])[0])]

    def symbols(self) -> dict[str, list[str]]:
        return {"channels": self.channels, "classes": self.classes, "values": self.values}

    @classmethod
    def from_symbols(cls, symbols: Any) -> Channels:
        return cls(symbols["channels"], symbols["classes"], symbols["values"])


def sizes_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """The fields of a model's configuration that a vocabulary decides.

    >>> sizes_of(Names(["0", "1"])), sizes_of(Channels(["x"], classes=["low", "high"]))
    ({'vocab': 2}, {'features': 1, 'outputs': 2, 'head': 'classes'})
    """
    if isinstance(vocabulary, Channels):
        return {"features": len(vocabulary.channels), "outputs": vocabulary.size, "head": vocabulary.head}
    return {"vocab": vocabulary.size}
