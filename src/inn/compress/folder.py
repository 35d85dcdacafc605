"""A compressed model as a folder that `from_pretrained` opens: `config.json` says which blocks share which states.

To transformers it is a quantised model, of a method that this module registers; so every architecture of theirs loads
as it is. `import inn.compress` first, or `trust_remote_code=True`, which runs the folder's `neuronal.py`: one line that
imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.quantizers import HfQuantizer
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from inn.compress.blocks import Joined, Projection, dense_again, neuronal, put_group, unite
from inn.system.errors import InputError

METHOD = "neuronal_groups"
_CODE = """# Opens a model made of neuronal groups; it takes inn-torch[hf] (https://pypi.org/project/inn-torch).
import inn.compress.folder  # noqa: F401
from transformers import {config}, {model}  # noqa: F401
"""


@register_quantization_config(METHOD)
class NeuronalGroupsConfig(QuantizationConfigMixin):
    """Which blocks of a model share input states, and their rank: the `quantization_config` of a compressed model.

    `groups`: of each, `rank` and `blocks`, a list of `[path, first row, last row]`.
    """

    def __init__(self, groups: Sequence[dict[str, Any]] = (), **kwargs: Any):
        self.quant_method = METHOD  # type: ignore[assignment]
        self.groups = list(groups)


@register_quantizer(METHOD)
class NeuronalGroupsLoader(HfQuantizer):
    """Makes the layers that the weights of a compressed model are loaded into."""

    def _process_model_before_weight_loading(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        build(model, self.quantization_config.groups)  # type: ignore[attr-defined]
        return model

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
    for group in groups:
        try:
            put_group(model, [Projection(*block) for block in group["blocks"]], group["rank"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"this model has no layers for the group {group}: {error}") from error


def mark(model: nn.Module) -> None:
    """Have the model's configuration say what it is made of, so that `save_pretrained` and `from_pretrained` agree."""
    config = NeuronalGroupsConfig(groups=groups_of(model))  # type: ignore[call-arg]
    model.config.quantization_config = config  # type: ignore[union-attr]
    model.hf_quantizer = NeuronalGroupsLoader(config)  # type: ignore[assignment]
    model.is_quantized, model.quantization_method = True, METHOD  # type: ignore[assignment]


def merge(model: nn.Module) -> nn.Module:
    """Turn a compressed model back into a dense one of its kind, which computes the same; in place, and returned.

    The result has the architecture's ordinary layers again, so whatever reads that architecture reads it: other
    libraries, converters to GGUF, quantisers. It is as large as before the compression.
    """
    for place, layer in list(neuronal(model)):
        dense_again(model, place, layer)
    for name, module in list(model.named_modules()):
        if isinstance(module, Joined):
            unite(model, name, module)
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer.remove_quantization_config(model)  # type: ignore[union-attr]
    return model


def save(model: nn.Module, folder: Path | str) -> None:
    """Write a compressed model as a folder that `AutoModelForCausalLM.from_pretrained` opens.

    Raises `InputError` for a model that is not compressed.
    """
    if not any(True for _ in neuronal(model)):
        raise InputError("this model holds no neuronal groups; compress it first")
    mark(model)
    kinds = type(model.config).__name__, type(model).__name__
    model.config.auto_map = {  # type: ignore[union-attr]
        "AutoConfig": f"neuronal.{kinds[0]}",
        "AutoModelForCausalLM": f"neuronal.{kinds[1]}",
    }
    model.save_pretrained(folder)  # type: ignore[operator]
    (Path(folder) / "neuronal.py").write_text(_CODE.format(config=kinds[0], model=kinds[1]))
