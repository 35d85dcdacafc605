"""A pretrained Mamba of Hugging Face becomes a population of neurons that computes the same, ready to be trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from inn.config.assemble import add, model_draft, value_of
from inn.config.models import INNConfig
from inn.config.parts import plain
from inn.config.run import RunConfig
from inn.models.inn import INN
from inn.nn.memory.mamba import Mamba
from inn.nn.memory.options.mamba import MambaOptions
from inn.nn.routing.dendrites import Dendrites
from inn.nn.topology.base import edges_of, learned
from inn.nn.topology.roles import check_alike
from inn.ops.norm.reference import EPSILON
from inn.registry import READOUTS
from inn.runs.beside import GENERATION, carry
from inn.runs.checkpoint import Checkpoint, check_numbers, pack_model, save
from inn.runs.directory import Run
from inn.runs.exported import weight_files
from inn.runs.ties import ties
from inn.system.errors import InputError
from inn.system.files import remove_folder
from inn.system.parse import read_json

if TYPE_CHECKING:
    from inn.data.base import Vocabulary

START: dict[str, Any] = {
    "neurons": 4, "weights": "shared", "identity": "silent", "identity_std": 1.0, "router": "attention",
    "readout": "mean", "recall": "none",
}  # fmt: skip
"""What the population is like where nobody says otherwise."""

_LAYER = "backbone.layers.{}."
_SAME = {  # of a neuron's memory: its name here, its name there
    "conv_bias": "mixer.conv1d.bias",
    "x_proj.weight": "mixer.x_proj.weight",
    "dt_proj.weight": "mixer.dt_proj.weight",
    "dt_proj.bias": "mixer.dt_proj.bias",
    "A_log": "mixer.A_log",
    "D": "mixer.D",
    "out_proj.weight": "mixer.out_proj.weight",
}


class Pretrained:
    """A folder that transformers' `MambaForCausalLM.save_pretrained` wrote, read without transformers.

    Attributes:
        folder: where it is.
        tensors: the weights by their names there, float32 (float64 where they are stored so).
        fields: the fields of an `INNConfig` that the weights decide.
        sha256: of the weight files, one after the other.

    Raises `InputError` for a folder that holds no such model, one whose weights are pickled, damaged or incomplete,
    and one that computes something else: biases in the projections, another activation, another norm's epsilon.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        about = self._json("config.json")
        kind = about.get("model_type")
        if kind != "mamba":
            raise InputError(f"'{folder}' holds a model of type '{kind}'; only 'mamba' (MambaForCausalLM) is upcycled")
        self._refuse("hidden_act", about.get("hidden_act", "silu"), "silu", "swish")
        self._refuse("layer_norm_epsilon", about.get("layer_norm_epsilon", EPSILON), EPSILON)
        self._refuse("use_bias", about.get("use_bias", False), False)
        self.tensors, self.sha256 = self._weights()
        self.fields = self._fields(tied=about.get("tie_word_embeddings", True))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise InputError(f"the weights in '{self.folder}' have no '{name}'; save the whole MambaForCausalLM again")
        return self.tensors[name]

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"'{self.folder}' holds no {name}; give a folder that `save_pretrained` wrote")
        return read_json(path)

    def _refuse(self, name: str, value: Any, *known: Any) -> None:
        if value not in known:
            raise InputError(f"'{self.folder}' has {name} {value}, and a neuron's memory knows {known[0]} only")

    def _weights(self) -> tuple[dict[str, Tensor], str]:
        index = self.folder / "model.safetensors.index.json"
        if not index.exists() and not (self.folder / "model.safetensors").is_file():
            raise InputError(
                f"'{self.folder}' holds no model.safetensors; pickled weights (.bin) are not read, have transformers "
                "save them again by `save_pretrained`"
            )
        tensors: dict[str, Tensor] = {}
        digest = hashlib.sha256()
        for path in weight_files(self.folder):
            try:
                tensors |= load_file(path)
            except (OSError, ValueError, SafetensorError) as error:
                raise InputError(f"cannot read '{path}': it is damaged ({error})") from None
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        check_numbers(tensors, self.folder)
        wide = {name: t.to(torch.promote_types(t.dtype, torch.float32)) for name, t in tensors.items()}
        return wide, digest.hexdigest()

    def _fields(self, tied: bool) -> dict[str, Any]:
        vocab, width = self["backbone.embeddings.weight"].shape
        layers = 0
        while any(name.startswith(_LAYER.format(layers)) for name in self.tensors):
            layers += 1
        if not layers:
            raise InputError(f"the weights in '{self.folder}' have no layers; save the whole MambaForCausalLM again")
        first = _LAYER.format(0) + "mixer."
        channels, state = self[first + "A_log"].shape
        if channels % width:
            raise InputError(
                f"'{self.folder}' has {channels} channels for a width of {width}; they must be a multiple of it"
            )
        return {
            "vocab": vocab, "width": width, "rounds": layers, "state": state, "expand": channels // width,
            "conv": self[first + "conv1d.weight"].shape[-1], "dt_rank": self[first + "dt_proj.weight"].shape[1],
            "tied": tied, "norm": "rms", "input": "copy", "share_rounds": False, "zero_start": True,
            "head": "linear", "embedding_width": None,
        }  # fmt: skip

    def config(self, **fields: Any) -> INNConfig:
        """The configuration of the population: what the weights decide, `START`, and over it the `fields` given."""
        width = self.fields["width"]
        heads = next(h for h in (4, 2, 1) if width % h == 0)
        draft = model_draft("inn", {**self.fields, **START, "heads": heads})
        add(draft, fields, of=" of model kind 'inn'")
        config = INNConfig(**draft.tree)
        self.check(config)
        return config

    def check(self, config: INNConfig) -> None:
        """Raise `InputError` where a population of this configuration would not compute what the pretrained does."""
        if config.kind != "inn":
            raise InputError(f"a population is of kind 'inn', not '{config.kind}'; leave model.kind out")
        if config.population or not isinstance(config.memory, MambaOptions):
            raise InputError("the neurons of a pretrained Mamba remember with memory 'mamba'; leave model.memory out")
        check_alike(config, "a population of copies cannot be made")
        if edges_of(config) is not None or learned(config):
            raise InputError(
                f"topology '{config.topology.kind}' is not of a population of copies; leave model.topology out"
            )
        for name, value in self.fields.items():
            found = value_of(config, name)
            if found not in (value, None):
                raise InputError(
                    f"model.{name} is {value} in a population made of '{self.folder}', not {found}; leave it out"
                )
        if config.weights == "communal":
            raise InputError("communal weights are of low rank and cannot hold the pretrained ones; use separate")
        if not READOUTS[config.readout.kind].exchangeable:
            raise InputError(
                f"readout '{config.readout.kind}' would need another head than the pretrained one; "
                "use mean or attention"
            )
        if config.neurons > 1 and not (config.identity == "silent" and config.identity_std):
            raise InputError(
                f"identity '{config.identity}' of deviation {config.identity_std} changes the function, or leaves the "
                "neurons alike for ever; use model.identity silent with model.identity_std 1"
            )
        if config.into_memory and config.gate.kind != "none":
            raise InputError("a gate on dendrites changes what neurons read from the start; leave model.gate out")


def upcycle(pretrained: Pretrained | str | Path, config: INNConfig | None = None, **fields: Any) -> INN:
    """Return a population whose neurons are copies of a pretrained Mamba, and which computes exactly what it computes.

    Every neuron reads the whole embedding and has the pretrained weights (one set for all, or with `weights:
    separate` a copy each); the readout is their mean. What the pretrained model has no word for begins without effect:
    identities behind a gain of zero, messages behind an output map of zero (dendrites: every matrix between two
    neurons zero), recall behind a map of zero. None of them has a gradient of zero, so training tells the neurons
    apart: by their identities where they share weights.

    The model reads symbols `[B, T]` and gives logits `[B, T, vocab]`, in evaluation mode.

    Args:
        pretrained: the folder, or what was read from it.
        config: the whole configuration, in place of `fields`.
        fields: of `INNConfig`, over those of `START`: `neurons`, `weights`, `router`, ...

    Raises `InputError` as `Pretrained` does, and for a field with which the function would not be the same.

    Example: ``upcycle("mamba-130m-hf", neurons=4, weights="separate")``
    """
    source = pretrained if isinstance(pretrained, Pretrained) else Pretrained(pretrained)
    config = config or source.config(**fields)
    source.check(config)
    model = INN(config).to(source["backbone.embeddings.weight"].dtype)
    with torch.no_grad():
        _put(model.embedding.weight, source["backbone.embeddings.weight"])
        _put(model.norm.weight, source["backbone.norm_f.weight"])
        if not config.tied:
            _put(model.head.weight, source["lm_head.weight"])  # type: ignore[arg-type]
        if model.recall is not None:
            model.recall.silence()
        for i in range(config.rounds):
            _fill(model, i, source)
    return model.eval()


def _fill(model: INN, i: int, source: Pretrained) -> None:
    """Give round `i` the weights of layer `i`."""
    layer, this = _LAYER.format(i), model.graph.round(i)
    assert isinstance(this.memory, Mamba)
    parameters = dict(this.memory.named_parameters())
    _put(this.memory_norm.weight, source[layer + "norm.weight"])  # type: ignore[arg-type]
    _put(parameters["conv_weight"], source[layer + "mixer.conv1d.weight"][:, 0])
    for here, there in _SAME.items():
        if here == "conv_bias" and layer + there not in source.tensors:  # a convolution without one
            parameters[here].zero_()
        else:
            _put(parameters[here], source[layer + there])
    into = source[layer + "mixer.in_proj.weight"]
    if "in_proj.weight" in parameters:
        _put(parameters["in_proj.weight"], into)
    else:  # dendrites: each neuron hears itself only
        assert isinstance(this.router, Dendrites)
        hear = this.router.hear.get_parameter("weight")
        hear.zero_()
        neurons, width = model.config.neurons, model.config.width
        for n in range(neurons):
            _put(hear[n, :, n * width : (n + 1) * width], into)


def _put(here: Tensor, there: Tensor) -> None:
    """Copy a pretrained weight, for every set of weights where `here` has an axis of them."""
    if here.shape[-there.ndim :] != there.shape:
        raise InputError(f"a pretrained weight is {list(there.shape)} where {list(here.shape)} is expected")
    here.copy_(there.expand_as(here))


def vocabulary_of(pretrained: Pretrained, config: RunConfig) -> Vocabulary:
    """The symbols that a pretrained model reads: bytes if the settings say so, else its tokenizer.

    It is filled up to the model's size, which is often rounded up. Raises `InputError` where there is none, or one of
    more symbols than the model has.
    """
    from inn.data.tokens import Tokens, read_symbols
    from inn.data.vocabulary import Bytes

    size, data = pretrained.fields["vocab"], config.data
    if data.vocabulary != "bytes" and data.tokenizer is None:
        raise InputError(
            f"'{pretrained.folder}' holds no tokenizer.json; name one by --data.tokenizer PATH, or give "
            "--data.vocabulary bytes if its symbols are bytes"
        )
    vocabulary = Bytes() if data.tokenizer is None else read_symbols(data.tokenizer)
    if isinstance(vocabulary, Tokens) and vocabulary.size < size:
        vocabulary = vocabulary.filled(size)
    if vocabulary.size != size:
        raise InputError(
            f"the model in '{pretrained.folder}' reads {size:,} symbols, and its vocabulary has {vocabulary.size:,} "
            f"({vocabulary.kind}); give the tokenizer it was trained with by --data.tokenizer PATH"
        )
    return vocabulary


def write_run(pretrained: Pretrained, path: str | Path, config: RunConfig) -> INN:
    """Write an upcycled model as a run at step 0, which can be scored, let write, exported and trained from.

    Raises `InputError` as `upcycle` and `vocabulary_of` do, and where `path` exists. Nothing is left half-written.
    """
    Run.check_free(path)
    pretrained.check(config.model)
    vocabulary = vocabulary_of(pretrained, config)
    torch.manual_seed(config.train.seed)
    model = upcycle(pretrained, config.model)
    tensors, aliases = pack_model(model)
    origin = {"name": pretrained.folder.resolve().name, "sha256": pretrained.sha256}
    meta = {"aliases": aliases, "upcycled_from": origin, **ties(config, vocabulary)}
    run = Run.create(path, config, vocabulary)
    try:
        carry(pretrained.folder, run.path, (GENERATION,))
        save(run.checkpoints, Checkpoint(0, {"model": tensors}, meta))
    except BaseException:
        remove_folder(run.path)
        raise
    model.vocabulary = vocabulary
    return model


def settings_of(pretrained: Pretrained) -> Mapping[str, Any]:
    """What a run of this model starts from, as the sections of a recipe; its tokenizer, where the folder holds one."""
    data = {}
    if (pretrained.folder / "tokenizer.json").is_file():
        data = {"vocabulary": "tokenizer", "tokenizer": str(pretrained.folder)}
    return {"model": plain(pretrained.config()), "data": data}
