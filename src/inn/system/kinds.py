"""A table of kinds by name: built in, registered in this process, or brought by an installed package."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from inn.system.errors import InputError, nearest


class Kinds(Mapping[str, Any]):
    """A table of kinds by name. Names are known without importing anything; a kind is imported when it is asked for.

    Args:
        what: what they are, in the singular, as errors say it.
        group: the group of entry points that installed packages bring theirs by.
        built_in: name -> `module:attribute`, or `module` alone; empty for a name that stands for nothing (`none`).
        options: name -> `module:class` of the options, for built-in kinds whose options need no PyTorch.
        stack: `module:function` that makes one class of several, by name: what `a+b` names; empty where none can be.
    """

    def __init__(
        self,
        what: str,
        group: str,
        built_in: Mapping[str, str],
        options: Mapping[str, str] | None = None,
        stack: str = "",
    ):
        self.what, self.group, self._stack = what, group, stack
        self._built_in, self._options = dict(built_in), dict(options or {})
        self._registered: dict[str, Any] = {}

    def register(self, name: str, kind: Any) -> None:
        """Add a kind for this process; raises `InputError` where the name is taken by another one.

        The same class again, as a notebook cell that is run twice or a file that is imported under two names
        registers it, takes the place of the one before.
        """
        if not isinstance(name, str) or not name.isprintable() or not name.strip():
            raise InputError(f"the name of a {self.what} must be a text, not {name!r}")
        if not isinstance(kind, type):
            raise InputError(f"{self.what} '{name}' must be a class, not {kind!r}")
        before = self._registered.get(name)
        same = before is not None and _defined(before) == _defined(kind)
        if name in self and not same:
            raise InputError(f"{self.what} '{name}' is there already ({self.origin(name)}); choose another name")
        self._registered[name] = kind

    @contextmanager
    def lent(self, name: str, kind: Any) -> Iterator[None]:
        """Have a kind while the `with` block runs."""
        self.register(name, kind)
        try:
            yield
        finally:
            del self._registered[name]

    @cached_property
    def _brought(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def empty(self, name: str) -> bool:
        """Whether a name stands for no such part at all (`none`)."""
        return name in self and self._built_in.get(name) == ""

    def options(self, name: str) -> Any:
        """The class of a kind's options; None where it has none."""
        if len(parts := self._parts(name)) > 1:
            return joined_options({part: self.options(part) for part in parts}, self.what)
        path = self._options.get(name)
        return getattr(self[name], "Options", None) if path is None else _imported(path)

    def origin(self, name: str) -> str:
        """Where a kind comes from: `built in`, a distribution and its version, or the module that registered it."""
        if len(parts := self._parts(name)) > 1:
            found = [self.origin(part) for part in parts]
            return next((origin for origin in found if origin != "built in"), "built in")
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
        if len(parts := self._parts(name)) > 1:
            for part in parts:
                self.check(part, origin)
            raise InputError(f"{self.what} '{name}' names one of them twice")
        if not isinstance(origin, str | None):
            raise InputError(f"{self.what} '{name}' comes from {origin!r}, which is no text")
        if origin is not None and origin.startswith("module "):
            raise InputError(f"{self.what} '{name}' was registered by {origin}; import that first")
        if origin is not None:
            package = origin.split(" ")[0]
            raise InputError(
                f"{self.what} '{name}' comes with {origin}, which is not installed here; pip install {package}"
            )
        raise InputError(f"unknown {self.what} '{name}'{nearest(str(name), self)}")

    def _parts(self, name: object) -> list[str]:
        """The kinds that a name stacks; one for most names."""
        if not isinstance(name, str) or not self._stack or name in self._registered:
            return [name]  # type: ignore[list-item]
        return name.split("+")

    def __getitem__(self, name: str) -> Any:
        if len(parts := self._parts(name)) > 1:
            return _imported(self._stack)({part: self[part] for part in parts})
        if name in self._registered:
            return self._registered[name]
        if name in self._built_in:
            return _imported(self._built_in[name])
        entry = self._brought[name]
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise InputError(f"{self.what} '{name}' of {self.origin(name)} cannot be imported: {error}") from error

    def __contains__(self, name: object) -> bool:
        if len(parts := self._parts(name)) > 1:
            return len(set(parts)) == len(parts) and all(part in self for part in parts)
        return isinstance(name, str) and (name in self._built_in or name in self._registered or name in self._brought)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._built_in, **self._registered, **self._brought})

    def __len__(self) -> int:
        return len({**self._built_in, **self._registered, **self._brought})


def _defined(kind: Any) -> tuple[str, str]:
    """The file, or the module that has none, and the name that a kind is defined under."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file or kind.__module__, kind.__qualname__


def joined_options(kinds: Mapping[str, Any], what: str = "kind") -> Any:
    """One dataclass of the options of several kinds, by name; raises `InputError` where two have one of a name."""
    owners: dict[str, str] = {}
    for name, options in kinds.items():
        for f in fields(options) if options is not None else ():
            if f.name != "kind" and owners.setdefault(f.name, name) != name:
                raise InputError(
                    f"{what}s '{owners[f.name]}' and '{name}' both have an option '{f.name}'; use one of them"
                )
    return _one_class(tuple(options for options in kinds.values() if options is not None))


@cache
def _one_class(classes: tuple[type, ...]) -> Any:
    least = [c for c in dict.fromkeys(classes) if not any(issubclass(d, c) for d in classes if d is not c)]
    if len(least) < 2:
        return least[0] if least else None
    return dataclass(type("+".join(c.__name__ for c in least), tuple(least), {}))


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    if not module:
        return None
    return getattr(import_module(module), attribute) if attribute else import_module(module)
