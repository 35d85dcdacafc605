"""Which neurons the layers of a model have, and the same layers with fewer of them, or fewer heads.

The neurons of an MLP are the numbers that its up projection (and gate) write and its down projection reads. Without
some of them all three are ordinary layers, narrower. Where all layers have as many, the model is an ordinary one of its
architecture, and its configuration says how many.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, bias_of, is_linear, layers_of, parts, rows_of_weight, text_config, weight_of
from inn.compress.neurons import members
from inn.compress.replace import put_dense
from inn.compress.topologies import Block, BlockGroup
from inn.system.errors import InputError

READS, WRITES = "d", "ug"
HEARS = "o"
"""What reads the heads of attention."""
_WIDTHS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
"""What configurations call the number of neurons of a layer."""


def neuron_groups(model: nn.Module, blocks: Mapping[Block, Projection]) -> list[BlockGroup]:
    """The MLPs whose neurons can be cut, of each the projection that reads them first, then those that write them.

    Left out are those with anything trained besides inside (a norm would see every neuron), and those of which a part
    is not among `blocks`.
    """
    path, _ = layers_of(model)
    found: list[BlockGroup] = []
    for block, reader in blocks.items():
        writers = [w for role in WRITES if (w := Block(block.layer, role)) in blocks]
        home = reader.path.rpartition(".")[0]
        if block.role != READS or not writers or any(blocks[w].path.rpartition(".")[0] != home for w in writers):
            continue
        taken = {reader.path, *(blocks[w].path for w in writers)}
        whole = sum(len(weight_of(model, blocks[w])) for w in writers)
        there = sum(len(rows_of_weight(model.get_submodule(p))) for p in taken - {reader.path})
        inside = {name for name, _ in model.get_submodule(home).named_parameters()}
        others = {n for n in inside if f"{home}.{n.rpartition('.')[0]}" not in taken}
        fits = all(len(weight_of(model, blocks[w])) == weight_of(model, reader).shape[1] for w in writers)
        if fits and whole == there and not (others and home != f"{path}.{block.layer}"):
            found.append((block, *writers))
    return sorted(found)


@torch.no_grad()
def narrow(
    model: nn.Module, group: Sequence[Projection], kept: Tensor, weight: Tensor, units: int | None = None
) -> None:
    """Put narrower layers in the place of an MLP's, or of attention's, in place.

    Args:
        model: the model.
        group: where the projections are: the reader, then the writers.
        kept: `[k]` int64, the units that stay: neurons, or heads.
        weight: what reads them from now on, `[m, k]` for neurons.
        units: how many there are, each of so many adjacent rows of a writer; None: as many as the reader has columns.
    """
    reader, *writers = group
    units = weight_of(model, reader).shape[1] if units is None else units

    def left(of: Tensor) -> Tensor:
        return of[members(kept, len(of) // units)]

    for path in dict.fromkeys(w.path for w in writers):
        mine = sorted((w for w in writers if w.path == path), key=lambda w: w.first)  # gate and up may be one layer
        biases = [bias_of(model, w) for w in mine]
        bias = None if biases[0] is None else torch.cat([left(b) for b in biases if b is not None])
        _narrower(model, path, torch.cat([left(weight_of(model, w)) for w in mine]), bias)
    _narrower(model, reader.path, weight.to(weight_of(model, reader)), bias_of(model, reader))


def widths_of(model: nn.Module) -> dict[str, list[int]]:
    """The linear layers of a model that have other (outputs, inputs) than its configuration says, by their paths."""
    return {name: list(rows_of_weight(m).shape) for name, m in model.named_modules() if getattr(m, "narrowed", False)}


def build_widths(model: nn.Module, widths: Mapping[str, Sequence[int]]) -> None:
    """Put layers of these (outputs, inputs) in the place of others, their numbers not set.

    Raises `InputError` where the model has no such layers.
    """
    for path, shape in widths.items():
        try:
            old: Any = model.get_submodule(path)
            weight = rows_of_weight(old).new_empty(*shape)
        except (AttributeError, TypeError, RuntimeError) as error:
            raise InputError(f"this model has no layer '{path}' of {shape} numbers: {error}") from error
        _narrower(model, path, weight, None if old.bias is None else old.bias.new_empty(shape[0]))


@torch.no_grad()
def level(model: nn.Module) -> None:
    """Give all layers as many neurons as the widest has, in place, and say so (`declare`); it computes the same.

    Where the configuration cannot say so, they get as many as it says.
    """
    path, layers = layers_of(model)
    known = dict(model.named_modules())
    for name in dict.fromkeys(name.removeprefix(f"{path}.").partition(".")[2] for name in widths_of(model)):
        paths = (f"{path}.{i}.{name}" for i in range(len(layers)))
        there = [p for p in paths if p in known and is_linear(known[p])]
        shapes = [rows_of_weight(known[p]).shape for p in there]
        for p in there:
            _widen(model, p, max(rows for rows, _ in shapes), max(columns for _, columns in shapes))
    if not widths_of(model) or declare(model):
        return
    its: Any = model.config
    with torch.device("meta"):
        twin = type(model)(copy.deepcopy(its))
    for p in widths_of(model):
        _widen(model, p, *rows_of_weight(twin.get_submodule(p)).shape)
        model.get_submodule(p).__dict__.pop("narrowed")


def _widen(model: nn.Module, path: str, outputs: int, inputs: int) -> None:
    """Give a linear layer so many outputs and inputs, the new ones behind the others of each part, and zero."""
    layer: Any = model.get_submodule(path)
    weight, bias, parts_ = rows_of_weight(layer), layer.bias, len(list(parts(model, path, layer)))
    rows, columns = (outputs - len(weight)) // parts_, inputs - weight.shape[1]
    if rows or columns:
        wider = torch.cat([nn.functional.pad(part, (0, columns, 0, rows)) for part in weight.chunk(parts_)])
        pads = None if bias is None else [nn.functional.pad(part, (0, rows)) for part in bias.chunk(parts_)]
        _narrower(model, path, wider, None if pads is None else torch.cat(pads))


def declare(model: nn.Module) -> bool:
    """Have the configuration say how many neurons and heads the layers have, where all have as many; whether it can.

    A model that was narrowed is then an ordinary one of its architecture.
    """
    its: Any = getattr(model, "config", None)
    config = copy.deepcopy(its)
    text = text_config(config)
    fields = _fields(model, text)
    for name, value in fields.items():
        setattr(text, name, value)
    if not fields:
        return False
    with torch.device("meta"):
        twin = type(model)(config)
    if [(n, p.shape) for n, p in twin.named_parameters()] != [(n, p.shape) for n, p in model.named_parameters()]:
        return False
    for name, value in fields.items():
        setattr(text_config(its), name, value)
    for module in model.modules():
        module.__dict__.pop("narrowed", None)
    return True


def _fields(model: nn.Module, text: Any) -> dict[str, int]:
    """What a configuration has to say of a model that was narrowed; empty where it cannot say it."""
    found: dict[str, int] = {}
    widths: dict[str, set[int]] = {}
    for name in widths_of(model):
        widths.setdefault(_letter(model, name), set()).add(rows_of_weight(model.get_submodule(name)).shape[1])
    for letter, sizes in ((letter, sizes) for letter, sizes in widths.items() if letter in (READS, HEARS)):
        field = next((name for name in _WIDTHS if hasattr(text, name)), None)
        if len(sizes) != 1 or (letter == READS and field is None):
            return {}
        if letter == READS:
            found[str(field)] = min(sizes)
            continue
        size, heads = getattr(text, "head_dim", None), text.num_attention_heads
        if not size:
            return {}
        found["num_attention_heads"] = min(sizes) // size
        if (shared := getattr(text, "num_key_value_heads", None)) is not None:
            found["num_key_value_heads"] = min(sizes) // size * shared // heads
    return found


def _narrower(model: nn.Module, path: str, weight: Tensor, bias: Tensor | None) -> None:
    put_dense(model, path, weight, bias).narrowed = True  # type: ignore[assignment]


def _letter(model: nn.Module, path: str) -> str:
    return next(parts(model, path, model.get_submodule(path)))[0]
