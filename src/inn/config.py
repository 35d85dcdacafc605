"""Every option of the library, as typed dataclasses: the only place where defaults live.

The docstring under a field is its help on the command line. A configuration is data: it names kinds
(`router: bus`), never import paths, so a downloaded one cannot import code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from math import ceil
from typing import Any, Literal, get_type_hints

from inn.errors import InputError, lookup, nearest


def _check_literals(config) -> None:
    """Raise `InputError` where a field holds a value that its `Literal` type does not list."""
    hints = get_type_hints(type(config))
    for f in fields(config):
        allowed = getattr(hints[f.name], "__args__", ()) if "Literal" in str(hints[f.name]) else ()
        value = getattr(config, f.name)
        if allowed and all(isinstance(a, str) for a in allowed) and value not in allowed:
            raise InputError(f"{f.name} cannot be '{value}'{nearest(str(value), allowed)}")


def _check_at_least(config, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")


def _check_fraction(config, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0.0 <= value < 1.0:
            raise InputError(f"{name} must be in [0, 1), not {value}")


@dataclass
class MemoryConfig:
    """The Mamba memory inside a neuron (Gu & Dao 2023): its sizes and where its time constants start."""

    memory: Literal["mamba"] = "mamba"
    """The primitive inside a neuron that carries state over time."""
    state: int = 16
    """State numbers per channel of the memory (S)."""
    conv: int = 4
    """Taps of the memory's causal convolution."""
    expand: int = 2
    """Channels of the memory per unit of width (E = expand x width)."""
    dt_rank: int | None = None
    """Rank of the step-size projection; width / 16, rounded up, when not given."""
    dt_min: float = 1e-3
    """Smallest step size at the start; the longest time constant is 1 / dt_min symbols."""
    dt_max: float = 1e-1
    """Largest step size at the start."""

    def check_memory(self) -> None:
        _check_at_least(self, 1, "state", "conv", "expand", "dt_rank")
        if not 0 < self.dt_min <= self.dt_max:
            raise InputError(f"dt_min ({self.dt_min}) must be above 0 and not above dt_max ({self.dt_max})")


@dataclass
class GraphConfig(MemoryConfig):
    """A graph of neurons: population, memory, router, readout. By default N separate neurons that dendrites join."""

    neurons: int = 8
    """Neurons in the population (N)."""
    width: int = 64
    """Width of one neuron (D)."""
    rounds: int = 4
    """Rounds of communication and memory (R); the paper's layers."""
    share_rounds: bool = False
    """One set of weights for all rounds; the state stays one per round and neuron."""
    input: Literal["copy", "split"] = "split"
    """`copy`: every neuron receives the whole input (width D); `split`: its own N-th of an N x D wide one."""
    weights: Literal["shared", "separate", "communal"] = "separate"
    """One set for all neurons; one per neuron; `communal`: the same, made of states, those of what they read shared."""
    communal_states: int = 32
    """Numbers per neuronal state (k) of communal weights."""
    identity: Literal["none", "embedding", "silent"] = "none"
    """`embedding`: a learned vector per neuron, added to its input; `silent`: the same, times a gain from zero on."""
    identity_std: float = 0.02
    """Standard deviation of the identity embedding at the start."""
    timescales: Literal["same", "spread"] = "same"
    """`spread`: neuron n starts in its own part of the log-range dt_min..dt_max (needs separate weights)."""
    router: Literal["attention", "static", "mixing", "bus", "dendrites", "none"] = "dendrites"
    """How neurons exchange messages at one time step; `dendrites` lead into the memory, the others come after it."""
    heads: int = 4
    """Attention heads of the router."""
    qk_norm: bool = False
    """Normalise queries and keys of the attention router (RMS, with a learned gain)."""
    zero_start: bool = True
    """Start the messages at zero: the neurons begin silent and learn to talk. Not so dendrites."""
    bus_width: int = 64
    """Numbers that each neuron writes on the bus (m)."""
    routing_dropout: float = 0.0
    """Dropout on the routing weights."""
    norm: Literal["layer", "rms"] = "layer"
    """Layer norm, or RMS norm: no mean taken off and no bias, as in published Mambas."""
    update: Literal["sequential", "parallel", "message-norm"] = "sequential"
    """Published code (pre-norm, memory then messages), Equation 1 (both at once), Algorithm 1 (norm on the message)."""
    gate: Literal["none", "soft", "hard"] = "none"
    """A neuron's decision to emit at a step: a factor on its outgoing message, in (0, 1) or in {0, 1}."""
    gate_penalty: float = 0.0
    """Weight (nats) of the mean gate in the training loss: what it costs to talk."""
    readout: Literal["mean", "attention", "concat"] = "concat"
    """How the population becomes one vector."""
    dropout: float = 0.0
    """Dropout on the input, on what memory and messages add, and before the head."""

    def __post_init__(self) -> None:
        _check_literals(self)
        self.check_memory()
        _check_at_least(self, 1, "neurons", "width", "rounds", "heads", "bus_width")
        _check_fraction(self, "dropout", "routing_dropout")
        _check_at_least(self, 0, "gate_penalty", "identity_std")
        if self.router == "attention" and self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )
        if self.router == "dendrites" and self.update != "sequential":
            raise InputError(
                f"update '{self.update}' has no meaning with router 'dendrites', where messages come before memory; "
                "leave it out"
            )
        if self.timescales == "spread" and self.weights == "shared":
            raise InputError(
                "timescales 'spread' needs weights 'separate': shared weights have one set of time constants"
            )
        inputs = self.width * (self.neurons if self.router == "dendrites" else 1)
        if self.weights == "communal" and not 1 <= self.communal_states < inputs:
            raise InputError(
                f"communal_states must be from 1 to {inputs - 1}, fewer than the {inputs} numbers that a neuron reads, "
                f"not {self.communal_states}"
            )

    @property
    def populations(self) -> int:
        """Sets of weights in the population: 1 when shared, else N."""
        return 1 if self.weights == "shared" else self.neurons

    @property
    def channels(self) -> int:
        """Channels of a memory, E = expand x width."""
        return self.expand * self.width

    @property
    def memory_inputs(self) -> int:
        """Numbers per neuron that its in-projection, or its dendrites, hand to a memory: signal and gate of a Mamba."""
        return 2 * self.channels

    @property
    def rank(self) -> int:
        """Rank of the step-size projection."""
        return self.dt_rank or ceil(self.width / 16)

    @property
    def input_width(self) -> int:
        """Width of what the graph takes in: D copied, N x D split."""
        return self.width * (self.neurons if self.input == "split" else 1)

    @property
    def readout_width(self) -> int:
        """Width of what the graph gives out: N x D concatenated, else D."""
        return self.width * (self.neurons if self.readout == "concat" else 1)


@dataclass
class SymbolsConfig:
    """How symbols enter a model and how it predicts them, where there are many."""

    embedding_width: int | None = None
    """Numbers per symbol, which a linear map widens to the model's; a tied head goes back. No map when not given."""
    head: Literal["linear", "adaptive"] = "linear"
    """`adaptive`: fewer numbers for rarer symbols, which must be numbered by frequency, as words are. Not tied."""
    cutoffs: list[int] | None = None
    """Where the adaptive head cuts the vocabulary, [2000,6000] for one; at one and three fifths when not given."""

    def check_symbols(self, tied: bool) -> None:
        _check_at_least(self, 1, "embedding_width")
        if self.head == "adaptive" and tied:
            raise InputError("head 'adaptive' has weights of its own and cannot be tied; set tied false")
        if self.cutoffs is not None and self.head != "adaptive":
            raise InputError(f"cutoffs belong to head 'adaptive', not '{self.head}'; set head adaptive, or no cutoffs")
        if self.cutoffs is not None and any(a >= b for a, b in pairwise([0, *self.cutoffs])):
            raise InputError(f"cutoffs must be above 0 and rise, unlike {self.cutoffs}")
        if self.cutoffs == []:
            raise InputError("cutoffs [] cut nothing; give at least one, or set head linear")

    def cuts(self, vocab: int) -> list[int]:
        """The adaptive head's cutoffs in a vocabulary of this size."""
        return self.cutoffs or [vocab // 5, 3 * vocab // 5]


@dataclass
class INNConfig(GraphConfig, SymbolsConfig):
    """An Intelligent Neural Network: embedding, graph of neurons, recall of what was read, head."""

    kind: Literal["inn"] = "inn"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""
    recall: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 7, 8, 10])
    """Lengths of the contexts that neurons recall, dealt out in turn: what followed the last time; [] for none."""
    recall_width: int = 24
    """Width of what is recalled, before it is mapped to a neuron's width."""
    recall_slots: int = 65536
    """Contexts that fit into a neuron's table; later ones take the place of earlier ones."""
    recall_forget: float = 0.004
    """Chance that a stream forgets all it recalls before a training window, so that short texts are learned too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_symbols(self.tied)
        _check_at_least(self, 1, "vocab", "recall_width", "recall_slots")
        _check_fraction(self, "recall_forget")
        for length in self.recall:
            if not 1 <= length <= 64:
                raise InputError(f"recall lists contexts of 1 to 64 symbols, not {length}")
        if self.recall and self.vocab > 2**21:
            raise InputError(f"recall knows at most 2,097,152 symbols, and vocab is {self.vocab}; give recall=[]")


@dataclass
class LSTMConfig(SymbolsConfig):
    """A stack of LSTM layers (PyTorch's own), dropout between layers and before the head."""

    kind: Literal["lstm"] = "lstm"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 2
    """Layers."""
    dropout: float = 0.0
    """Dropout between layers and before the head."""
    tied: bool = False
    """The head uses the embedding's weights."""
    embedding_std: float = 1.0
    """Standard deviation of the embedding at the start; an LSTM fed with 0.02 learns far more slowly. Tied: 0.02."""

    def __post_init__(self) -> None:
        _check_literals(self)
        self.check_symbols(self.tied)
        _check_at_least(self, 1, "vocab", "width", "layers")
        _check_fraction(self, "dropout")


@dataclass
class TransformerConfig(SymbolsConfig):
    """A modern Transformer: pre-norm (RMS), rotary positions, SwiGLU, scaled-dot-product attention."""

    kind: Literal["transformer"] = "transformer"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 6
    """Layers."""
    heads: int = 4
    """Attention heads."""
    hidden: int | None = None
    """Hidden width of the SwiGLU; 8/3 of the width, rounded up to a multiple of 8, when not given."""
    window: int = 256
    """Symbols that attention looks back on; streaming slides this window."""
    dropout: float = 0.0
    """Dropout on what each sublayer adds."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of all weight matrices at the start."""

    def __post_init__(self) -> None:
        _check_literals(self)
        self.check_symbols(self.tied)
        _check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        _check_fraction(self, "dropout")
        if self.width % (2 * self.heads):
            raise InputError(
                f"width {self.width} must be a multiple of 2 x heads ({2 * self.heads}) for rotary positions"
            )


@dataclass
class PaperTransformerConfig:
    """The paper's Transformer: sinusoidal positions, post-norm, ReLU, as in its published code."""

    kind: Literal["transformer-paper"] = "transformer-paper"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a layer."""
    layers: int = 6
    """Layers."""
    heads: int = 8
    """Attention heads."""
    hidden: int = 1024
    """Hidden width of the feed-forward part."""
    window: int = 256
    """Symbols that attention looks back on; streaming slides this window."""
    dropout: float = 0.1
    """Dropout, as in `torch.nn.TransformerEncoderLayer`."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_at_least(self, 1, "vocab", "width", "layers", "heads", "hidden", "window")
        _check_fraction(self, "dropout")
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by heads {self.heads}; choose heads that divide the width"
            )


@dataclass
class MambaStackConfig(MemoryConfig, SymbolsConfig):
    """A stack of Mamba blocks: a graph of one neuron that talks to nobody."""

    kind: Literal["mamba-stack", "mamba-stack-transposed"] = "mamba-stack"
    """The kind of model; `mamba-stack-transposed` is the published mistake, which scans over the batch."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    width: int = 256
    """Width of a block."""
    layers: int = 6
    """Blocks."""
    dropout: float = 0.0
    """Dropout on the input, on what each block adds, and before the head."""
    tied: bool = True
    """The head uses the embedding's weights."""
    embedding_std: float = 0.02
    """Standard deviation of the embedding at the start (the published code: 1)."""

    def __post_init__(self) -> None:
        _check_literals(self)
        self.check_memory()
        self.check_symbols(self.tied)
        _check_at_least(self, 1, "vocab", "width", "layers")
        _check_fraction(self, "dropout")


@dataclass
class NgramConfig:
    """An n-gram table with add-one smoothing: counts, no training loop."""

    kind: Literal["ngram"] = "ngram"
    """The kind of model."""
    vocab: int = 256
    """Distinct symbols; training takes it from the data."""
    order: int = 3
    """Symbols per gram: 1 = unigram, 2 = bigram, ..."""

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_at_least(self, 1, "vocab", "order")
        if self.vocab**self.order >= 2**62:
            raise InputError(
                f"an n-gram of order {self.order} over {self.vocab} symbols does not fit; choose a smaller order"
            )


MODEL_CONFIGS: dict[str, type] = {
    "inn": INNConfig,
    "lstm": LSTMConfig,
    "transformer": TransformerConfig,
    "transformer-paper": PaperTransformerConfig,
    "mamba-stack": MambaStackConfig,
    "mamba-stack-transposed": MambaStackConfig,
    "ngram": NgramConfig,
}

_PAPER: dict[str, Any] = {
    "neurons": 32, "width": 256, "rounds": 6, "input": "copy", "weights": "shared", "router": "attention", "heads": 4,
    "zero_start": False, "routing_dropout": 0.1, "readout": "mean", "dt_rank": 16, "embedding_std": 1.0, "recall": [],
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "distinct": {"router": "attention", "recall": []},
    "paper": _PAPER,
    "paper-fixed": {**_PAPER, "embedding_std": 0.02},
}
"""Starting points for `INNConfig`: `paper` is the published model, `paper-fixed` the same at embedding std 0.02,
`distinct` its idea with neurons that differ (separate weights, input and readout, silent at the start)."""


def model_config(kind: str = "inn", preset: str | None = None, **fields_: Any):
    """Return the configuration of a model: its class's defaults, then the preset's, then the fields given.

    Raises `InputError` for an unknown kind, preset, field or value.

    >>> model_config("inn", preset="paper", vocab=27).neurons
    32
    """
    cls = lookup("model kind", kind, MODEL_CONFIGS)
    known = {f.name for f in fields(cls)}
    for name in fields_:
        if name not in known:
            raise InputError(f"unknown field '{name}' of model kind '{kind}'{nearest(name, known)}")
    if preset is not None:
        if kind != "inn":
            raise InputError(f"preset '{preset}' is of model kind 'inn', not '{kind}'")
        fields_ = {**lookup("preset", preset, PRESETS), **fields_}
    return cls(**{**fields_, "kind": kind})


@dataclass
class DataConfig:
    """What the model reads, and how it is cut into windows."""

    corpus: str = "pydoc"
    """A corpus by name (`inn data list`), `file:PATH`: a file, a folder or a glob, or `shards:FOLDER`, prepared."""
    vocabulary: Literal["bytes", "characters", "words", "bpe", "tokenizer"] = "characters"
    """What counts as a symbol; `bpe`: sub-words, learned from the training part; `tokenizer`: those of a file."""
    tokenizer: str | None = None
    """A tokenizer.json, or a folder that holds one; or a run, whose symbols are used. Else the text decides."""
    units: int = 2048
    """Sub-words of `bpe`, the 256 bytes among them; fewer where the text repeats no more."""
    batch: int = 16
    """Streams read side by side (B)."""
    window: int = 256
    """Symbols per stream and step (T): how far gradients reach back."""
    order: Literal["contiguous", "shuffled", "random"] = "contiguous"
    """`contiguous`: streams go on where they were, state carried; `shuffled`: over stretches of the text in another
    order in every pass; `random`: windows from anywhere, state fresh."""

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_at_least(self, 1, "batch", "window")
        _check_at_least(self, 256, "units")
        if self.vocabulary == "tokenizer" and not self.tokenizer:
            raise InputError(
                "vocabulary 'tokenizer' needs data.tokenizer: a tokenizer.json, or a folder that holds one"
            )


@dataclass
class TrainConfig:
    """How the model learns, what is logged and kept, and on what machine."""

    symbols: int = 2_000_000
    """Symbols to train on, all streams together; may exceed the corpus (it is read again)."""
    lr: float = 3e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "onecycle", "wsd"] = "cosine"
    """Learning rate over time: warm-up then cosine, PyTorch's OneCycleLR (the paper's), or warm-up-stable-decay."""
    warmup: float = 0.05
    """Share of the steps that warm up (onecycle: 0.3 is the published value)."""
    decay: float = 0.2
    """Share of the steps that decay at the end (wsd only)."""
    lr_floor: float = 0.01
    """Last learning rate, as a share of the peak (cosine and wsd)."""
    weight_decay: float = 0.01
    """AdamW weight decay; none on biases, norms, embeddings' identities and time constants."""
    beta1: float = 0.9
    """AdamW's first moment."""
    beta2: float = 0.99
    """AdamW's second moment (the paper: 0.999)."""
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    accumulate: int = 1
    """Backward passes per update, each on its own rows of the batch."""
    seed: int = 0
    """Seed of weights, dropout and data order."""
    start: str | None = None
    """A run whose weights training begins with, as `inn train --from RUN` sets it; fresh weights when not given."""
    device: str = "auto"
    """auto, cpu, cuda (or cuda:1, ...) or mps."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 trains under autocast; weights and the recurrent state stay float32."""
    checkpoint_rounds: bool = False
    """Recompute each round of the graph in the backward pass: less memory, a third more work, the same results."""
    threads: int = 0
    """CPU threads; 0 takes one for each physical core."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes (torchrun) train one model: `ddp`, a copy in each; `fsdp`, each holds a part of all."""
    log_every: int = 20
    """Steps between log lines."""
    eval_every: int = 500
    """Steps between validations."""
    eval_symbols: int = 100_000
    """Symbols of the validation part that a validation reads while training; 0 reads all."""
    sample_every: int = 500
    """Steps between samples; 0 turns them off."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Recent checkpoints to keep, beside the best."""

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_at_least(self, 1, "symbols", "accumulate", "log_every", "eval_every", "checkpoint_every", "keep")
        _check_at_least(self, 0, "clip", "weight_decay", "threads", "eval_symbols", "sample_every", "seed")
        _check_fraction(self, "warmup", "decay", "beta1", "beta2")
        if self.lr <= 0:
            raise InputError(f"lr must be above 0, not {self.lr}")


def of_its_version(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the version meant that wrote it: runs of version 0.1 know nothing of recall, and had none.

    A run writes every field out; what a person wrote, who leaves out the defaults, comes back as it is.

    >>> of_its_version({"model": {"kind": "inn", "width": 32}})
    {'model': {'kind': 'inn', 'width': 32}}
    """
    model = tree.get("model")
    if isinstance(model, dict) and model.get("kind") == "inn" and {f.name for f in fields(MemoryConfig)} <= set(model):
        return {**tree, "model": {"recall": [], **model}}
    return tree


@dataclass
class RunConfig:
    """Everything needed to repeat a run: the model, the data, the training."""

    model: Any
    data: DataConfig
    train: TrainConfig

    def __post_init__(self) -> None:
        if getattr(self.model, "head", "linear") == "adaptive" and self.data.vocabulary != "words":
            raise InputError(
                f"head 'adaptive' needs symbols that are numbered by frequency, as those of vocabulary 'words' are and "
                f"those of '{self.data.vocabulary}' are not; set model.head linear"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain data, every field written out."""
        return {"model": asdict(self.model), "data": asdict(self.data), "train": asdict(self.train)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> RunConfig:
        """Build a configuration from plain data; raises `InputError` for unknown sections, fields and values."""
        sections = {"model", "data", "train"}
        for name in tree:
            if name not in sections:
                raise InputError(f"unknown section '{name}' in the configuration{nearest(name, sections)}")
        for name, section in (("data", DataConfig), ("train", TrainConfig)):
            known = {f.name for f in fields(section)}
            for key in tree.get(name, {}):
                if key not in known:
                    raise InputError(f"unknown field '{name}.{key}'{nearest(key, known)}")
        return cls(
            model_config(**tree.get("model", {})),
            DataConfig(**tree.get("data", {})),
            TrainConfig(**tree.get("train", {})),
        )
