"""Kinds by name, open to others: built in, registered in this process, or brought by an installed package.

A configuration names kinds and never import paths, so a downloaded one imports nothing but what is installed here.
A package brings a kind by an entry point:

    [project.entry-points."inn.memories"]
    leaky = "my_package:Leaky"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from inn.system.errors import lookup
from inn.system.kinds import Kinds

T = TypeVar("T")

MEMORIES = Kinds(
    "memory",
    "inn.memories",
    {
        "mamba": "inn.nn.memory.mamba:Mamba",
        "mamba2": "inn.nn.memory.mamba2:Mamba2",
        "delta": "inn.nn.memory.delta:Delta",
        "complex": "inn.nn.memory.complex:Complex",
        "lif": "inn.nn.memory.lif:LIF",
        "plif": "inn.nn.memory.plif:PLIF",
        "psn": "inn.nn.memory.psn:PSN",
        "hebb": "inn.nn.memory.hebb:Hebb",
        "gru": "inn.nn.memory.gru:GRU",
        "locked": "inn.nn.memory.locked:Locked",
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
        "mamba2": "inn.nn.memory.options.mamba2:Mamba2Options",
        "delta": "inn.nn.memory.options.delta:DeltaOptions",
        "complex": "inn.nn.memory.options.complex:ComplexOptions",
        "lif": "inn.nn.memory.options.spiking:LIFOptions",
        "plif": "inn.nn.memory.options.spiking:PLIFOptions",
        "psn": "inn.nn.memory.options.spiking:PSNOptions",
        "hebb": "inn.nn.memory.options.hebb:HebbOptions",
        "gru": "inn.nn.memory.options.recurrent:RecurrentOptions",
        "locked": "inn.nn.memory.options.locked:LockedOptions",
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
        "mixture": "inn.nn.routing.mixture:Mixture",
        "bus": "inn.nn.routing.bus:Bus",
        "dendrites": "inn.nn.routing.dendrites:Dendrites",
        "workspace": "inn.nn.routing.workspace:Workspace",
        "none": "",
    },
    {
        "attention": "inn.nn.routing.options:AttentionOptions",
        "static": "inn.nn.routing.options:MessageOptions",
        "mixing": "inn.nn.routing.options:MixingOptions",
        "mixture": "inn.nn.routing.options:MixtureOptions",
        "bus": "inn.nn.routing.options:BusOptions",
        "dendrites": "inn.nn.routing.options:DendritesOptions",
        "workspace": "inn.nn.routing.options:WorkspaceOptions",
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
        "hub": "inn.nn.topology.hub:Hub",
        "chain": "inn.nn.topology.chain:Chain",
        "edges": "inn.nn.topology.listed:Listed",
        "file": "inn.nn.topology.listed:Listed",
        "rewired": "inn.nn.topology.rewired:Rewired",
        "signatures": "inn.nn.topology.signatures:Signatures",
    },
    {
        "complete": "inn.nn.topology.roles:TopologyOptions",
        "ring": "inn.nn.topology.options:RingOptions",
        "small-world": "inn.nn.topology.options:SmallWorldOptions",
        "groups": "inn.nn.topology.options:GroupsOptions",
        "hub": "inn.nn.topology.options:HubOptions",
        "chain": "inn.nn.topology.options:ChainOptions",
        "edges": "inn.nn.topology.options:EdgesOptions",
        "file": "inn.nn.topology.options:FileOptions",
        "rewired": "inn.nn.topology.options:RewiredOptions",
        "signatures": "inn.nn.topology.options:SignaturesOptions",
    },
)
READOUTS = Kinds(
    "readout",
    "inn.readouts",
    {
        "mean": "inn.nn.readout:Mean",
        "attention": "inn.nn.readout:Attention",
        "concat": "inn.nn.readout:Concat",
        "each": "inn.nn.readout:Each",
        "parts": "inn.nn.parts:Parts",
    },
    {
        **dict.fromkeys(("mean", "attention"), "inn.nn.topology.roles:ReadoutOptions"),
        "concat": "inn.nn.topology.roles:ConcatOptions",
        "each": "inn.nn.topology.options:EachOptions",
        "parts": "inn.nn.topology.roles:PartsOptions",
    },
)
INNERS = Kinds(
    "inner map",
    "inn.inner",
    {
        "none": "",
        "hourglass": "inn.nn.inner.hourglass:Hourglass",
        "kan": "inn.nn.inner.kan:Kan",
        "separable": "inn.nn.inner.separable:Separable",
        "clip": "inn.nn.inner.clip:Clip",
    },
    {
        "hourglass": "inn.nn.inner.options:HourglassOptions",
        "kan": "inn.nn.inner.options:KanOptions",
        "separable": "inn.nn.inner.options:SeparableOptions",
        "clip": "inn.nn.inner.options:ClipOptions",
    },
)
GATES = Kinds(
    "gate",
    "inn.gates",
    {
        "none": "",
        "soft": "inn.nn.gates.soft:Soft",
        "hard": "inn.nn.gates.soft:Hard",
        "address": "inn.nn.gates.address:Address",
        "active": "inn.nn.gates.active:Active",
        "experts": "inn.nn.gates.experts:Experts",
    },
    {
        "soft": "inn.nn.gates.options:SoftOptions",
        "hard": "inn.nn.gates.options:HardOptions",
        "address": "inn.nn.gates.options:AddressOptions",
        "active": "inn.nn.gates.options:ActiveOptions",
        "experts": "inn.nn.gates.options:ExpertsOptions",
    },
)
RECALLS = Kinds(
    "recall",
    "inn.recalls",
    {"none": "", "last": "inn.nn.recall.last:Last", "counts": "inn.nn.recall.counts:Counts"},
    {"last": "inn.nn.recall.options:LastOptions", "counts": "inn.nn.recall.options:CountsOptions"},
)
_CONTEXTS = {name: f"inn.nn.recall.contexts:{name.title()}" for name in ("last", "word", "column")}
CONTEXTS = Kinds("context", "inn.contexts", _CONTEXTS, _CONTEXTS)  # a class is its own options
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
        "addition": "inn.data.tasks.addition:Addition",
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
    {
        "predict": "inn.training.objectives.predict:Predict",
        "rewire": "inn.training.objectives.rewire:Rewire",
        "nested": "inn.training.objectives.nested:Nested",
        "distil": "inn.training.objectives.distil:Distil",
        "protect": "inn.training.objectives.protect:Protect",
        "concentrate": "inn.training.objectives.concentrate:Concentrate",
    },
    {
        "predict": "inn.config.parts:Options",
        "rewire": "inn.training.objectives.options:RewireOptions",
        "nested": "inn.training.objectives.options:NestedOptions",
        "distil": "inn.training.objectives.options:DistilOptions",
        "protect": "inn.training.objectives.options:ProtectOptions",
        "concentrate": "inn.training.objectives.options:ConcentrateOptions",
    },
    stack="inn.training.objectives.stacked:stacked",
)

EXPORTS = Kinds(
    "export",
    "inn.exports",
    {
        "hf": "inn.hf.export:HuggingFace",
        "c": "inn.export.c.write:C",
        "onnx": "inn.export.onnx:ONNX",
        "web": "inn.export.web.page:Web",
        "pt2": "inn.export.pt2:PT2",
        "small": "inn.export.small:Small",
    },
    {
        "hf": "inn.config.parts:Options",
        "c": "inn.config.exports:COptions",
        "onnx": "inn.config.exports:ONNXOptions",
        "web": "inn.config.exports:WebOptions",
        "pt2": "inn.config.exports:PT2Options",
        "small": "inn.config.exports:SmallOptions",
    },
)
READERS = Kinds("reader", "inn.readers", {"portable": "inn.export.exact.reader:Portable"})
"""What predicts where a text is coded, beside the model itself."""
TRAINED = Kinds("trained model", "inn.trained", {})  # the paths of runs, see `inn.runs.trained`

TABLES = {
    "memory": MEMORIES,
    "router": ROUTERS,
    "topology": TOPOLOGIES,
    "inner": INNERS,
    "gate": GATES,
    "readout": READOUTS,
    "recall": RECALLS,
    "context": CONTEXTS,
    "model": MODELS,
    "vocabulary": VOCABULARIES,
    "objective": OBJECTIVES,
    "task": TASKS,
    "export": EXPORTS,
}
"""What `register` takes, and `inn kinds` lists."""


def register(what: str, name: str) -> Callable[[T], T]:
    """Register a class as a kind of this process, by a decorator.

    Args:
        what: `memory`, `router`, `topology`, `inner`, `gate`, `readout`, `recall`, `model`, ...: keys of `TABLES`.
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
