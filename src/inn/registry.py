"""Kinds by name, open to others: built in, registered in this process, or brought by an installed package.

A configuration names kinds and never import paths, so a downloaded one imports nothing but what is installed here.
A package brings a kind by an entry point:

    [project.entry-points."inn.memories"]
    gru = "my_package:GRU"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from inn.system.errors import InputError, nearest


class Kinds(Mapping[str, Any]):
    """A table of kinds by name. Names are known without importing anything; a kind is imported when it is asked for.

    Args:
        what: what they are, in the singular, as errors say it.
        group: the group of entry points that installed packages bring theirs by.
        built_in: name -> `module:attribute`, or `module` alone.
    """

    def __init__(self, what: str, group: str, built_in: Mapping[str, str]):
        self.what, self.group = what, group
        self._built_in = dict(built_in)
        self._registered: dict[str, Any] = {}

    def register(self, name: str, kind: Any) -> None:
        """Add a kind for this process; raises `InputError` where the name is taken by another one.

        The same class again, as a module that is imported twice or a notebook cell that is run twice registers it,
        takes the place of the one before.
        """
        before = self._registered.get(name)
        same = before is not None and (before.__module__, before.__qualname__) == (kind.__module__, kind.__qualname__)
        if name in self and not same:
            raise InputError(f"{self.what} '{name}' is there already ({self.origin(name)}); choose another name")
        self._registered[name] = kind

    @cached_property
    def _brought(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def origin(self, name: str) -> str:
        """Where a kind comes from: `built in`, a distribution and its version, or the module that registered it."""
        if name in self._built_in:
            return "built in"
        if name in self._registered:
            return f"module {self._registered[name].__module__}"
        distribution = self._brought[name].dist
        return "an installed package" if distribution is None else f"{distribution.name} {distribution.version}"

    def summary(self, name: str) -> str:
        """What the distribution that brings a kind says of itself, in a line."""
        distribution = self._brought[name].dist if name in self._brought else None
        return (distribution.metadata["Summary"] if distribution is not None else None) or self.origin(name)

    def check(self, name: str, origin: str | None = None) -> None:
        """Raise `InputError` for a name that nobody has; `origin` is where it came from when it was written down."""
        if name in self:
            return
        if origin is not None and origin.startswith("module "):
            raise InputError(f"{self.what} '{name}' was registered by {origin}; import that first")
        if origin is not None:
            package = origin.split(" ")[0]
            raise InputError(
                f"{self.what} '{name}' comes with {origin}, which is not installed here; pip install {package}"
            )
        raise InputError(f"unknown {self.what} '{name}'{nearest(name, self)}")

    def __getitem__(self, name: str) -> Any:
        if name in self._registered:
            return self._registered[name]
        if name in self._built_in:
            return _imported(self._built_in[name])
        try:
            return self._brought[name].load()
        except (ImportError, AttributeError) as error:
            raise InputError(f"{self.what} '{name}' of {self.origin(name)} cannot be imported: {error}") from error

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._registered or name in self._brought

    def __iter__(self) -> Iterator[str]:
        return iter({**self._built_in, **self._registered, **self._brought})

    def __len__(self) -> int:
        return len({**self._built_in, **self._registered, **self._brought})


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute) if attribute else import_module(module)


MEMORIES = Kinds("memory", "inn.memories", {"mamba": "inn.nn.memory.mamba:Mamba"})
ROUTERS = Kinds(
    "router",
    "inn.routers",
    {
        "attention": "inn.nn.routing.attention:Attention",
        "static": "inn.nn.routing.static:Static",
        "mixing": "inn.nn.routing.mixing:Mixing",
        "bus": "inn.nn.routing.bus:Bus",
        "dendrites": "inn.nn.routing.dendrites:Dendrites",
    },
)
