"""A compressed model as a folder that `from_pretrained` opens: `config.json` says which blocks share which states.

To transformers it is a quantised model, of a method that this module registers; so every architecture of theirs loads
as it is. `import inn.compress.folder` first, or `trust_remote_code=True`, which runs the folder's `neuronal.py`: a file
that imports this module. Without either it is refused, never opened with weights drawn at random: `config.json` names a
model type that transformers does not have, and where the weight of a compressed layer would be, the file has one number
(`inn.compress.modules`), which fits no layer. Both stay through whatever saves the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig
from transformers.quantizers import HfQuantizer
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from inn.compress.blocks import Projection, neuronal, refuse_adapters
from inn.compress.modules import Guarded
from inn.compress.neurons_layers import build_widths, declare, level, widths_of
from inn.compress.replace import make_dense, put_group
from inn.compress.rounded import Storage, bytes_in_states, matrices, round_
from inn.system.errors import InputError

METHOD = "neuronal_groups"
_DENSE = "dense_model_type"
"""Where `config.json` keeps the model type of the dense model."""
_CODE = '''"""Opens this folder with `trust_remote_code=True`: a model whose projections share neuronal states."""

try:
    from inn.compress.folder import CompressedConfig
except ImportError as error:
    raise ImportError("this compressed model needs the package inn-torch: pip install 'inn-torch[hf]'") from error

__all__ = ["CompressedConfig"]
'''


class CompressedConfig(PretrainedConfig):
    """What `AutoConfig` reads a compressed folder with: it makes the dense model's configuration, marked (`mark`)."""

    model_type = METHOD

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        kind = str(config_dict.get(_DENSE))
        if kind not in CONFIG_MAPPING:
            raise InputError(f"this compressed model is made of a '{kind}', which this version of transformers lacks")
        fields = {key: value for key, value in config_dict.items() if key != _DENSE}
        return _marked(CONFIG_MAPPING[kind]).from_dict({**fields, "model_type": kind}, **kwargs)


AutoConfig.register(METHOD, CompressedConfig, exist_ok=True)


class _Marked:
    """What is written of a compressed model's configuration; in memory it is the dense model's."""

    _auto_class = None  # its code is in no folder

    def to_json_string(self, *args: Any, **kwargs: Any) -> str:
        found = json.loads(super().to_json_string(*args, **kwargs))  # type: ignore[misc]
        found |= {_DENSE: type(self).model_type, "model_type": METHOD}  # type: ignore[attr-defined]
        # Of the configuration only: where this package has opened that, every class of model opens.
        found["auto_map"] = {"AutoConfig": f"neuronal.{CompressedConfig.__name__}"}
        return json.dumps(found, indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        (Path(save_directory) / "neuronal.py").write_text(_CODE, encoding="utf-8")
        super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]

    def __reduce__(
        self,
    ) -> tuple[Any, ...]:  # the class is made while the program runs: pickles name what it is made of
        return _again, (type(self).__mro__[2],), self.__dict__


@cache
def _marked(kind: type[PretrainedConfig]) -> type[PretrainedConfig]:
    """A configuration class that is written as a compressed model's; transformers finds models for it by its name."""
    return type(kind.__name__, (_Marked, kind), {"__module__": kind.__module__})  # type: ignore[return-value]


def _again(kind: type[PretrainedConfig]) -> PretrainedConfig:
    marked = _marked(kind)
    return marked.__new__(marked)


@register_quantization_config(METHOD)
class NeuronalGroupsConfig(QuantizationConfigMixin):
    """What a compressed model is made of: the `quantization_config` in its folder.

    `groups`: blocks that share input states; of each, `rank` and `blocks`, a list of `[path, first row, last row]`.
    `widths`: of layers with fewer neurons than the configuration says, `[outputs, inputs]` by their paths. `bits`: what
    the matrices of the file are rounded to (`inn.compress.rounded`); None for plain numbers.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]] = (),
        widths: Mapping[str, Sequence[int]] | None = None,
        bits: int | None = None,
        **kwargs: Any,
    ):
        self.quant_method = METHOD  # type: ignore[assignment]
        self.groups, self.bits = list(groups), bits
        self.widths = {path: list(shape) for path, shape in (widths or {}).items()}


@register_quantizer(METHOD)
class NeuronalGroupsLoader(HfQuantizer):
    """Makes the layers that the weights of a compressed model are loaded into."""

    bytes: Storage | None = None

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        config: Any = self.quantization_config
        base = f"{getattr(model, 'base_model_prefix', '')}."
        build_widths(model, {_inside(model, base, path): shape for path, shape in config.widths.items()})
        build(model, config.groups)
        mark(model)  # of a folder opened by its class the configuration has a type that no names of weights belong to
        its: Any = model
        unexpected = its._keys_to_ignore_on_load_unexpected or set()
        names = [name.removeprefix(base) for name, m in model.named_modules() if isinstance(m, Guarded)]
        guards = {rf"\b{re.escape(name)}\.weight$" for name in names}
        its._keys_to_ignore_on_load_unexpected = {*unexpected, *guards}
        bits = _bits(model)
        self.bytes = None if bits is None else Storage(model, bits)
        return model

    def _process_model_after_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        if self.bytes is not None:
            self.bytes.close()
            self.bytes = None
        mark(model)
        return model

    def get_state_dict_and_metadata(self, model: nn.Module) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
        """Before anything is written: the configuration says what the model is made of by now, and in how many bits."""
        mark(model)
        bits = _bits(model)
        if bits is None:
            return None, {}
        held = {(id(module), name) for module, name in matrices(model)}
        paths = {f"{path}.{name}" for path, m in model.named_modules() for i, name in held if i == id(m)}
        return bytes_in_states(model.state_dict(), paths, bits), {}

    def _dequantize(self, model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
        return merge(model)

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return True

    @property
    def is_qat_trainable(self) -> bool:
        return True

    @property
    def is_compileable(self) -> bool:
        return True


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    """The groups of a compressed model as plain data, as `NeuronalGroupsConfig` has them."""
    found: dict[int, dict[str, Any]] = {}
    for place, layer in neuronal(model):
        group = found.setdefault(id(layer.reads), {"rank": len(layer.reads.weight), "blocks": []})
        # The block that keeps the states comes first: loading makes it so again.
        group["blocks"].insert(0 if layer.states is not None else len(group["blocks"]), list(astuple(place)))
    return list(found.values())


def build(model: nn.Module, groups: Sequence[dict[str, Any]]) -> None:
    """Put layers of neuronal states where `groups` says, their weights not set.

    Raises `InputError` where the model has no such layers.
    """
    base = f"{getattr(model, 'base_model_prefix', '')}."
    for group in groups:
        try:
            blocks = [Projection(_inside(model, base, path), *rows) for path, *rows in group["blocks"]]
            put_group(model, blocks, group["rank"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"this model has no layers for the group {group}: {error}") from error


def _inside(model: nn.Module, base: str, path: str) -> str:
    """A path in a model that may have been saved with a head and is opened without one, or the other way round."""
    head = path.split(".")[0]
    if hasattr(model, head):
        return path
    return path.removeprefix(base) if path.startswith(base) else f"{base}{path}"


def mark(model: nn.Module, bits: int | None = None) -> None:
    """Have the model's configuration say what it is made of, so that `save_pretrained` and `from_pretrained` agree.

    A model of which only neurons were cut, as many in every layer, is an ordinary one of its architecture.

    `bits`: what the file's matrices are rounded to from now on; None leaves that as it was.
    """
    groups, bits = groups_of(model), bits or _bits(model)
    if not groups and bits is None and declare(model):
        _unmark(model)
        return
    config = NeuronalGroupsConfig(groups=groups, widths=widths_of(model), bits=bits)  # type: ignore[call-arg]
    its: Any = model.config
    its.quantization_config = config
    if not isinstance(its, _Marked):
        its.__class__ = _marked(type(its))  # in place: the model's parts hold it too
        for name in (_DENSE, "model_type"):  # of a folder that was opened by the name of its class
            its.__dict__.pop(name, None)
    model.hf_quantizer = NeuronalGroupsLoader(config)  # type: ignore[assignment]
    model.quantization_method = METHOD  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]  (its numbers are ordinary ones: it is cast and trained)


def _bits(model: nn.Module) -> int | None:
    """What a model's file is rounded to."""
    return getattr(getattr(model.config, "quantization_config", None), "bits", None)


def round_to(model: nn.Module, bits: int) -> nn.Module:
    """Round a model's matrices to `bits`, 2 to 8, in place, and have every folder of it hold them so; returned.

    The model is dense or compressed. Groups of 32 numbers have a scale of 16 bits: a folder takes (bits + 0.5) / 32 of
    what it takes in float32. Raises `InputError` as `inn.compress.rounded.round_` does.
    """
    refuse_adapters(model)
    round_(model, bits)
    mark(model, bits)
    return model


def merge(model: nn.Module) -> nn.Module:
    """Turn a compressed model back into a dense one of its kind, which computes the same; in place, and returned.

    The result has the architecture's ordinary layers again, so whatever reads that architecture reads it: other
    libraries, converters to GGUF, quantisers. Low ranks make it as large as before the compression; where neurons were
    cut, every layer gets as many as the widest has.
    """
    refuse_adapters(model)
    make_dense(model)
    level(model)
    _unmark(model)
    return model


def _unmark(model: nn.Module) -> None:
    """Have the model's configuration be its architecture's again."""
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer.remove_quantization_config(model)  # type: ignore[union-attr]
    its: Any = getattr(model, "config", None)
    if isinstance(its, _Marked):
        its.__class__ = type(its).__mro__[2]
        its.__dict__.pop("auto_map", None)


def save(model: nn.Module, folder: Path | str) -> None:
    """Write a compressed model as a folder that `AutoModelForCausalLM.from_pretrained` opens.

    An ordinary folder where the model is an ordinary one of its architecture.
    """
    refuse_adapters(model)
    if widths_of(model) or _bits(model) is not None or any(True for _ in neuronal(model)):
        mark(model)
    model.save_pretrained(folder)  # type: ignore[operator]
