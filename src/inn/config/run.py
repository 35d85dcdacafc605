"""The options of a run: its model, its data, its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inn.config.assemble import drafted, stored_model
from inn.config.checks import check_at_least, check_fraction, check_idle, check_types, kind_of, needs
from inn.config.parts import check_names, named, part, parts_of, plain, settle_parts
from inn.registry import OBJECTIVES, TASKS, VOCABULARIES
from inn.system.errors import InputError, nearest

THREADS = 1024
"""CPU threads that can be asked for: a process of many thousands dies without a word."""


def _takes_units(vocabulary: str) -> bool:
    return vocabulary in VOCABULARIES and VOCABULARIES[vocabulary].takes_units


def task_of(corpus: str) -> str:
    """The kind of task that a corpus is; `none` for a text.

    >>> task_of("task:parity"), task_of("csv:my/data.csv"), task_of("pydoc")
    ('parity', 'csv', 'none')
    """
    source, colon, name = corpus.partition(":")
    return "none" if not colon or source not in TASK_SOURCES else name if source == "task" else source


def _is_text(corpus: Any) -> bool:
    return task_of(corpus) == "none"


TASK_SOURCES = ("task", "csv", "npz")
"""What stands before the colon of a corpus that is a task: the name of one, or data of one's own."""
_TEXT: dict[str, Any] = {"on": "corpus", "when": _is_text, "remedy": "file:PATH"}


@dataclass
class DataConfig:
    """What the model reads, and how it is cut into windows."""

    corpus: str = "pydoc"
    """A corpus by name (`inn data list`), `file:PATH`: a file, a folder or a glob, `shards:FOLDER`, prepared; or
    examples with targets: `task:NAME`, `csv:PATH`, `npz:PATH`."""
    task: Any = part(TASKS, "none")
    """The data of corpus `task:NAME`, `csv:PATH` or `npz:PATH`, which names the kind; its options."""
    vocabulary: str = named(VOCABULARIES, "characters", **_TEXT)
    """The kind of symbols; `bpe`: sub-words learned from the training part; `tokenizer`: tokens of a file."""
    tokenizer: str | None = needs(None, **_TEXT)
    """A tokenizer.json, a folder that contains one, or a run, to use its vocabulary. Default: from the text."""
    units: int = needs(2048, "vocabulary", _takes_units, "bpe")
    """Number of sub-words of `bpe`, including the 256 bytes; fewer if the text has no more repeated pairs."""
    limit: int | None = needs(None, **_TEXT)
    """The first symbols of the training part, so many, and no others; null for all of them."""
    batch: int = 16
    """Streams read in parallel (B)."""
    window: int = needs(256, **_TEXT)
    """Symbols per stream and step (T): how far gradients reach back."""
    order: Literal["contiguous", "forward", "shuffled", "random"] = needs("contiguous", **_TEXT)
    """`contiguous`: streams continue, state carried; `forward`: the same a segment of the text at a time, and what is
    recalled is what stands before in the text; `shuffled`: segments of the text in another order in every pass;
    `random`: windows from random positions, state reset."""

    def __post_init__(self) -> None:
        check_types(self)
        self._settle_task()
        check_names(self)
        check_idle(self)
        check_at_least(self, 1, "batch", "window", "limit")
        check_at_least(self, 256, "units")
        if self.vocabulary == "tokenizer" and not self.tokenizer:
            raise InputError(
                "vocabulary 'tokenizer' needs data.tokenizer: a tokenizer.json, or a folder that holds one"
            )

    def _settle_task(self) -> None:
        kind, given = task_of(self.corpus), kind_of(self.task)
        if given in (None, "none"):
            self.task = kind
        elif isinstance(given, Mapping):
            self.task = {"kind": kind, **given}
        elif given != kind:
            raise InputError(f"data.task is '{given}', and corpus '{self.corpus}' is not; set data.corpus task:{given}")
        settle_parts(self)

    @staticmethod
    def implied(given: Mapping[str, Any]) -> dict[str, str]:
        """The kind of the task, where the corpus is among the fields given."""
        corpus = given.get("corpus")
        return {"task": task_of(corpus)} if isinstance(corpus, str) else {}

    @property
    def text(self) -> bool:
        """Whether it is a text, and not a task."""
        return self.task.kind == "none"


@dataclass
class TrainConfig:
    """How the model learns, what is logged and kept, and on what machine."""

    symbols: int = 2_000_000
    """Symbols to train on, over all streams; may exceed the corpus (it is read again)."""
    objective: Any = part(OBJECTIVES, "predict")
    """The loss that a training step minimises; `predict`: the cross-entropy of the next symbol."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`adamw`, or `muon`: for the matrices of the rounds (of a transformer's layers), and AdamW for all else."""
    momentum: float = needs(0.95, "optimizer", "muon".__eq__, "muon")
    """Muon's decay rate of the mean gradient of a matrix."""
    ema: float = 0.0
    """Decay rate of an average of the weights, which is validated, kept and loaded in their place; 0: none."""
    lr: float = 3e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "onecycle", "wsd"] = "cosine"
    """Learning rate over time: warm-up then cosine, PyTorch's OneCycleLR (the paper's), or warm-up-stable-decay."""
    warmup: float = 0.05
    """Share of the steps that warm up (onecycle: 0.3 is the published value)."""
    decay: float = needs(0.2, "schedule", "wsd".__eq__, "wsd")
    """Share of the steps that decay at the end (wsd only)."""
    lr_floor: float = needs(0.01, "schedule", "onecycle".__ne__, "cosine")
    """Last learning rate, as a share of the peak (cosine and wsd)."""
    weight_decay: float = 0.01
    """Weight decay; none on biases, norms, embeddings' identities and time constants."""
    beta1: float = 0.9
    """AdamW's decay rate of the first moment."""
    beta2: float = 0.99
    """AdamW's decay rate of the second moment (the paper: 0.999)."""
    clip: float = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    accumulate: int = 1
    """Backward passes per update, each on its own rows of the batch."""
    seed: int = 0
    """Seed of weights, dropout and data order."""
    start: str | None = None
    """A run whose weights training starts with, set by `inn train --from RUN`; default: new weights."""
    device: str = "auto"
    """auto, cpu, cuda (or cuda:1, ...) or mps."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 trains under autocast; weights and the recurrent state stay float32."""
    checkpoint_rounds: bool = False
    """Recompute each round of the graph in the backward pass: less memory, a third more work, the same results."""
    threads: int = 0
    """CPU threads; 0 uses one per physical core."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes (torchrun) train one model: `ddp`: a copy in each; `fsdp`: each holds a share."""
    log_every: int = 20
    """Steps between log lines."""
    eval_every: int = 500
    """Steps between validations."""
    eval_symbols: int = 100_000
    """Symbols of the validation part to read in each validation; 0 reads all."""
    sample_every: int = 500
    """Steps between samples; 0 turns them off."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Recent checkpoints to keep, in addition to the best."""

    def __post_init__(self) -> None:
        check_types(self)
        settle_parts(self)
        check_idle(self)
        check_at_least(self, 1, "symbols", "accumulate", "log_every", "eval_every", "checkpoint_every", "keep")
        check_at_least(self, 0, "clip", "weight_decay", "threads", "eval_symbols", "sample_every", "seed")
        check_fraction(self, "warmup", "decay", "momentum", "ema", "beta1", "beta2")
        if not 0 <= self.lr_floor <= 1:
            raise InputError(f"lr_floor must be in [0, 1], a share of the peak, not {self.lr_floor}")
        if self.threads > THREADS:
            raise InputError(f"threads must be at most {THREADS}, not {self.threads}; 0 takes one for each core")
        if self.lr <= 0:
            raise InputError(f"lr must be above 0, not {self.lr}")


@dataclass
class RunConfig:
    """Everything needed to repeat a run: the model, the data, the training."""

    model: Any
    data: DataConfig
    train: TrainConfig

    def __post_init__(self) -> None:
        if self.train.checkpoint_rounds and not has_rounds(self.model):
            raise InputError(
                f"checkpoint_rounds does nothing with a model of kind '{self.model.kind}', which has no rounds; "
                "leave it out"
            )
        if getattr(self.model, "head", "linear") == "adaptive" and self.data.vocabulary != "words":
            raise InputError(
                f"head 'adaptive' needs symbols that are numbered by frequency, as those of vocabulary 'words' are and "
                f"those of '{self.data.vocabulary}' are not; set model.head linear"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain data, every field written out."""
        return {"model": plain(self.model), "data": plain(self.data), "train": plain(self.train)}

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> RunConfig:
        """Build a configuration from plain data; raises `InputError` for unknown sections, fields and values."""
        sections = {"model", "data", "train"}
        for name, section in tree.items():
            if name not in sections:
                raise InputError(f"unknown section '{name}' in the configuration{nearest(str(name), sections)}")
            if not isinstance(section, Mapping | None):
                raise InputError(f"section '{name}' of the configuration must hold fields, not {section!r}")
        data = drafted(DataConfig, tree.get("data") or {}, lenient=True, section="data.").tree
        train = drafted(TrainConfig, tree.get("train") or {}, lenient=True, section="train.").tree
        model = stored_model(tree.get("model") or {})
        if not has_rounds(model):
            train.pop("checkpoint_rounds", None)
        return cls(model, DataConfig(**data), TrainConfig(**train))


def has_rounds(model: Any) -> bool:
    """Whether a configuration is of a graph of neurons, which has rounds."""
    return "memory" in parts_of(type(model))
