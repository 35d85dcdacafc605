"""Kinds by name, open to others: built in, registered in this process, or brought by an installed package.

A configuration names kinds and never import paths, so a downloaded one imports nothing but what is installed here.
A package brings a kind by an entry point:

    [project.entry-points."inn.memories"]
    gru = "my_package:GRU"
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from inn.system.errors import InputError, lookup, nearest

T = TypeVar("T")


class Kinds(Mapping[str, Any]):
    """A table of kinds by name. Names are known without importing anything; a kind is imported when it is asked for.

    Args:
        what: what they are, in the singular, as errors say it.
        group: the group of entry points that installed packages bring theirs by.
        built_in: name -> `module:attribute`, or `module` alone; empty for a name that stands for nothing (`none`).
        options: name -> `module:class` of the options, for built-in kinds whose options need no PyTorch.
    """

    def __init__(self, what: str, group: str, built_in: Mapping[str, str], options: Mapping[str, str] | None = None):
        self.what, self.group = what, group
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
        path = self._options.get(name)
        return getattr(self[name], "Options", None) if path is None else _imported(path)

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

    def __getitem__(self, name: str) -> Any:
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
        return isinstance(name, str) and (name in self._built_in or name in self._registered or name in self._brought)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._built_in, **self._registered, **self._brought})

    def __len__(self) -> int:
        return len({**self._built_in, **self._registered, **self._brought})


def _defined(kind: Any) -> tuple[str, str]:
    """The file, or the module that has none, and the name that a kind is defined under."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file or kind.__module__, kind.__qualname__


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    if not module:
        return None
    return getattr(import_module(module), attribute) if attribute else import_module(module)


MEMORIES = Kinds(
    "memory",
    "inn.memories",
    {
        "mamba": "inn.nn.memory.mamba:Mamba",
        "gru": "inn.nn.memory.gru:GRU",
        "elman": "inn.nn.memory.elman:Elman",
        "lstm": "inn.nn.memory.lstm:LSTM",
        "slstm": "inn.nn.memory.slstm:SLSTM",
        "rhn": "inn.nn.memory.rhn:RHN",
        "elm": "inn.nn.memory.elm:ELM",
        "liquid": "inn.nn.memory.liquid:Liquid",
        "none": "inn.nn.memory.none:NoMemory",
    },
    {
        "mamba": "inn.nn.memory.options.mamba:MambaOptions",
        "gru": "inn.nn.memory.options.recurrent:RecurrentOptions",
        "elman": "inn.nn.memory.options.recurrent:RecurrentOptions",
        "lstm": "inn.nn.memory.options.lstm:LSTMOptions",
        "slstm": "inn.nn.memory.options.lstm:LSTMOptions",
        "rhn": "inn.nn.memory.options.rhn:RHNOptions",
        "elm": "inn.nn.memory.options.elm:ELMOptions",
        "liquid": "inn.nn.memory.options.recurrent:RecurrentOptions",
        "none": "inn.nn.memory.options.none:NoneOptions",
    },
)
ROUTERS = Kinds(
    "router",
    "inn.routers",
    {
        "attention": "inn.nn.routing.attention:Attention",
        "static": "inn.nn.routing.static:Static",
        "mixing": "inn.nn.routing.mixing:Mixing",
        "bus": "inn.nn.routing.bus:Bus",
        "dendrites": "inn.nn.routing.dendrites:Dendrites",
        "none": "",
    },
    {
        "attention": "inn.nn.routing.options:AttentionOptions",
        "static": "inn.nn.routing.options:MessageOptions",
        "mixing": "inn.nn.routing.options:MessageOptions",
        "bus": "inn.nn.routing.options:BusOptions",
        "dendrites": "inn.nn.routing.options:DendritesOptions",
    },
)
TOPOLOGIES = Kinds(
    "topology",
    "inn.topologies",
    {
        "complete": "inn.nn.topology.complete:Complete",
        "ring": "inn.nn.topology.ring:Ring",
        "small-world": "inn.nn.topology.ring:SmallWorld",
        "groups": "inn.nn.topology.groups:Groups",
        "edges": "inn.nn.topology.listed:Listed",
        "file": "inn.nn.topology.listed:Listed",
    },
    {
        "complete": "inn.config.parts:Options",
        "ring": "inn.nn.topology.options:RingOptions",
        "small-world": "inn.nn.topology.options:SmallWorldOptions",
        "groups": "inn.nn.topology.options:GroupsOptions",
        "edges": "inn.nn.topology.options:EdgesOptions",
        "file": "inn.nn.topology.options:FileOptions",
    },
)
READOUTS = Kinds(
    "readout",
    "inn.readouts",
    {
        "mean": "inn.nn.readout:Mean",
        "attention": "inn.nn.readout:Attention",
        "concat": "inn.nn.readout:Concat",
    },
    dict.fromkeys(("mean", "attention", "concat"), "inn.config.parts:Options"),
)
MODELS = Kinds(
    "model kind",
    "inn.models",
    {
        "inn": "inn.models.inn:INN",
        "lstm": "inn.models.lstm:LSTM",
        "gru": "inn.models.lstm:GRU",
        "transformer": "inn.models.transformer:Transformer",
        "transformer-paper": "inn.models.paper_transformer:PaperTransformer",
        "mamba-stack": "inn.models.mamba_stack:MambaStack",
        "mamba-stack-transposed": "inn.models.mamba_stack:TransposedMambaStack",
        "ngram": "inn.models.ngram:Ngram",
        "signal": "inn.models.signal_graph:SignalGraph",
        "signal-lstm": "inn.models.signal_rivals:SignalLSTM",
        "signal-gru": "inn.models.signal_rivals:SignalGRU",
        "signal-mamba": "inn.models.signal_graph:SignalMamba",
        "signal-transformer": "inn.models.signal_rivals:SignalTransformer",
    },
    {
        "inn": "inn.config.models:INNConfig",
        "lstm": "inn.config.rivals:LSTMConfig",
        "gru": "inn.config.rivals:LSTMConfig",
        "transformer": "inn.config.rivals:TransformerConfig",
        "transformer-paper": "inn.config.rivals:PaperTransformerConfig",
        "mamba-stack": "inn.config.rivals:MambaStackConfig",
        "mamba-stack-transposed": "inn.config.rivals:MambaStackConfig",
        "ngram": "inn.config.rivals:NgramConfig",
        "signal": "inn.config.signals:SignalConfig",
        "signal-lstm": "inn.config.signals:SignalLSTMConfig",
        "signal-gru": "inn.config.signals:SignalLSTMConfig",
        "signal-mamba": "inn.config.signals:SignalMambaConfig",
        "signal-transformer": "inn.config.signals:SignalTransformerConfig",
    },
)
VOCABULARIES = Kinds(
    "kind of vocabulary",
    "inn.vocabularies",
    {
        "bytes": "inn.data.vocabulary:Bytes",
        "characters": "inn.data.vocabulary:Characters",
        "words": "inn.data.vocabulary:Words",
        "bpe": "inn.data.subwords:SubWords",
        "tokenizer": "inn.data.tokens:Tokens",
        "names": "inn.data.names:Names",
        "channels": "inn.data.names:Channels",
    },
)
TASKS = Kinds(
    "task",
    "inn.tasks",
    {
        "none": "",
        "parity": "inn.data.tasks.parity:Parity",
        "modular": "inn.data.tasks.modular:Modular",
        "permutations": "inn.data.tasks.permutations:Permutations",
        "machines": "inn.data.tasks.machines:Machines",
        "copy": "inn.data.tasks.copy:Copy",
        "recall": "inn.data.tasks.recall:Recall",
        "needle": "inn.data.tasks.needle:Needle",
        "causal": "inn.data.tasks.causal:Causal",
        "accumulate": "inn.data.tasks.accumulate:Accumulate",
        "sessions": "inn.data.tasks.sessions:Sessions",
        "hmm": "inn.data.tasks.hmm:Hmm",
        "markov": "inn.data.tasks.markov:Markov",
        "listops": "inn.data.tasks.listops:Listops",
        "adding": "inn.data.tasks.adding:Adding",
        "digits": "inn.data.tasks.digits:Digits",
        "fashion": "inn.data.tasks.fashion:Fashion",
        "balls": "inn.data.tasks.balls:Balls",
        "lorenz96": "inn.data.tasks.lorenz96:Lorenz96",
        "chaos": "inn.data.tasks.chaos:Chaos",
        "csv": "inn.data.tasks.csv:Csv",
        "npz": "inn.data.tasks.npz:Npz",
    },
)
OBJECTIVES = Kinds(
    "objective",
    "inn.objectives",
    {"predict": "inn.training.objectives.predict:Predict"},
    {"predict": "inn.config.parts:Options"},
)

TABLES = {
    "memory": MEMORIES,
    "router": ROUTERS,
    "topology": TOPOLOGIES,
    "readout": READOUTS,
    "model": MODELS,
    "vocabulary": VOCABULARIES,
    "objective": OBJECTIVES,
    "task": TASKS,
}
"""What `register` takes, and `inn kinds` lists."""


def register(what: str, name: str) -> Callable[[T], T]:
    """Register a class as a kind of this process, by a decorator.

    Args:
        what: `memory`, `router`, `topology`, `readout`, `model`, `vocabulary`, `objective`, `task`: keys of `TABLES`.
        name: how configurations name it.

    Raises `InputError` for another `what`, and where the name is taken.

    >>> from inn.nn.topology.ring import Ring
    >>> @register("topology", "my-ring")
    ... class MyRing(Ring):
    ...     '''A ring of my own.'''
    """
    table = lookup("sort of kind", what, TABLES)

    def registered(kind: T) -> T:
        table.register(name, kind)
        return kind

    return registered
