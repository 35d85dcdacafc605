"""One folder for several sizes: what is needed most stands first, so a smaller size is made of prefixes.

What writes the neurons of a size are the first rows of what writes those of the largest, and its input states the first
of the largest's. What reads them is fitted anew for every size, and is all that each has of its own: of a gated MLP a
third of its weights, of states about half.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from inn.compress.blocks import Projection, find_blocks, neuronal, rows_of_weight, weight_of
from inn.compress.inputs import Rows
from inn.compress.neurons_layers import narrow, neuron_groups
from inn.compress.passes import StageReport
from inn.compress.plans import CompressionPlan, named_plan
from inn.compress.replace import make_dense, put_group
from inn.compress.run import Outcome, compress
from inn.compress.topologies import Block
from inn.system.errors import InputError

FILE = "nested.safetensors"
"""What a folder has beside the model of its largest size: the readers of the smaller ones, as `SIZE/PATH`."""


@dataclass(frozen=True)
class Nested:
    """Several sizes of one model.

    Attributes:
        outcome: how the largest was made; the model is of that size.
        readers: for every smaller size what it has of its own. Of an MLP, by the path of the layer, the weight `[m, k]`
            that reads its first k neurons, and `PATH/kept` which they are, where the largest size has all. Of a block
            at row `R` of a layer, `PATH/R/write` its states `[m, k]`, `PATH/R/read` those of its inputs `[k, n]` where
            the largest size has none, or `PATH/R/weight` of one that is dense.
    """

    outcome: Outcome
    readers: dict[float, dict[str, Tensor]]


@torch.no_grad()
def nest(
    model: nn.Module,
    rows: Rows,
    sizes: Iterable[float] = (0.8, 0.5, 0.3),
    plan: CompressionPlan | str = "auto",
    *,
    report: StageReport = lambda what, done, of: None,
) -> Nested:
    """Compress a model to the largest of some sizes, in place, and find what the smaller ones have of their own.

    All sizes have one order of neurons and of input states, found at the largest. In memory is the dense model a second
    and a third time.

    Args:
        model, rows, report: as `inn.compress.compress` has them.
        sizes: shares of the parameters, above 0 and below 1.
        plan: one by which blocks share nothing, and attention keeps its heads.

    Raises `InputError` for another plan, where an MLP keeps all its neurons, and as `inn.compress.compress` does.

    Example: ``save(nest(model, rows), folder)``; later ``at_size(model, folder, 0.5)`` of the opened model.
    """
    how = named_plan(plan) if isinstance(plan, str) else plan
    if how.heads or how.topology not in ("none", "svd-llm"):
        raise InputError(
            "several sizes in one folder are for plans by which every projection has states, or neurons, of its own, "
            f"not '{plan}'; use plan 'auto' or 'neurons'"
        )
    largest, *smaller = sorted({float(size) for size in sizes}, reverse=True)
    dense = copy.deepcopy(model) if smaller else model
    places = find_blocks(model)
    outcome = compress(model, rows, how, largest, orders={}, report=report)
    if how.allocate == "even" and outcome.dense:
        raise InputError(
            f"at {largest:g} '{outcome.dense[0]}' keeps all its neurons, in no order; make the largest size smaller"
        )
    readers: dict[float, dict[str, Tensor]] = {}
    for size in smaller:
        small = copy.deepcopy(dense)
        found = compress(small, rows, how, size, orders=outcome.orders, report=report)
        readers[size] = _own(small, found, model, outcome, places)
    return Nested(outcome, readers)


def _own(
    small: nn.Module, found: Outcome, model: nn.Module, largest: Outcome, places: Mapping[Block, Projection]
) -> dict[str, Tensor]:
    """What a smaller size has of its own, as `Nested.readers` has it."""
    own: dict[str, Tensor] = {}
    cut, states = {group for group, _ in largest.neurons}, {group for group, _ in largest.groups}
    for group, number in found.neurons:
        path = places[group[0]].path
        own[path] = rows_of_weight(small.get_submodule(path)).clone()
        if group not in cut:
            own[f"{path}/kept"] = found.orders[group][:number]
    layers = {(place.path, place.first): layer for place, layer in neuronal(small)}
    for group, _ in found.groups:
        place = places[group[0]]
        layer = layers[place.path, place.first]
        own[f"{place.path}/{place.first}/write"] = layer.write.weight.detach().clone()
        if group not in states:
            own[f"{place.path}/{place.first}/read"] = layer.reads.weight.detach().clone()
    for block in found.dense:
        place = places[block]
        weight = weight_of(small, place)
        if block not in largest.dense or not torch.equal(weight, weight_of(model, place)):
            own[f"{place.path}/{place.first}/weight"] = weight.clone()
    return own


def save(nested: Nested, folder: Path | str) -> None:
    """Write the smaller sizes beside the model of the largest, which `inn.compress.folder.save` writes."""
    tensors = {f"{size}/{path}": w.contiguous() for size, of in nested.readers.items() for path, w in of.items()}
    save_file(tensors, Path(folder) / FILE)


def sizes_in(folder: Path | str) -> list[float]:
    """The smaller sizes that a folder can be opened at, the largest of them first; none where it has one size."""
    if not (Path(folder) / FILE).is_file():
        return []
    with _opened(folder) as file:
        return sorted({float(key.partition("/")[0]) for key in file.keys()}, reverse=True)  # noqa: SIM118


@torch.no_grad()
def at_size(model: nn.Module, folder: Path | str, size: float) -> nn.Module:
    """Cut a model that was opened from a folder to one of the smaller sizes that are there, in place; it is returned.

    Raises `InputError` for a size that the folder does not have, and for a model that is not the folder's.
    """
    size, there = float(size), sizes_in(folder)
    if size not in there:
        known = ", ".join(f"{one:g}" for one in there) or "none but its own"
        raise InputError(f"'{folder}' has no size {size:g}; the smaller sizes that it has: {known}")
    own = f"{size}/"
    with _opened(folder) as file:
        found = {key.removeprefix(own): file.get_tensor(key) for key in file.keys() if key.startswith(own)}  # noqa: SIM118
    reads = {f"{place.path}/{place.first}": layer.reads.weight.detach() for place, layer in neuronal(model)}
    make_dense(model)
    blocks = find_blocks(model)
    groups = {blocks[group[0]].path: [blocks[b] for b in group] for group in neuron_groups(model, blocks)}
    places = {f"{place.path}/{place.first}": place for place in blocks.values()}
    steps: list[Callable[[], Any]] = []
    for key, given in found.items():
        at, _, part = key.rpartition("/")
        if part in ("kept", "read"):
            continue
        step: Callable[[], Any] | None = None
        if part == "write" and at in places:
            read = found.get(f"{at}/read", reads.get(at))
            if read is not None and given.shape[1] <= len(read) and len(given) == len(weight_of(model, places[at])):
                step = partial(_put, model, places[at], read, given)
        elif part == "weight" and at in places:
            if given.shape == weight_of(model, places[at]).shape:
                step = partial(_set, model, places[at], given)
        elif key in groups and given.shape[1] <= weight_of(model, groups[key][0]).shape[1]:
            step = partial(narrow, model, groups[key], found.get(f"{key}/kept", torch.arange(given.shape[1])), given)
        if step is None:
            raise InputError(f"the sizes in '{folder}' are of another model: this one has nothing that fits '{key}'")
        steps.append(step)
    for step in steps:
        step()
    import inn.compress.folder

    inn.compress.folder.mark(model)
    return model


def _set(model: nn.Module, place: Projection, weight: Tensor) -> None:
    weight_of(model, place).copy_(weight)


def _put(model: nn.Module, place: Projection, read: Tensor, write: Tensor) -> None:
    """Put a layer of states in the place of a dense block: the first `[k, n]` that it reads, and `[m, k]`."""
    (layer,) = put_group(model, [place], write.shape[1])
    layer.reads.weight.copy_(read[: write.shape[1]])
    layer.write.weight.copy_(write)


def _opened(folder: Path | str) -> Any:
    try:
        return safe_open(Path(folder) / FILE, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{Path(folder) / FILE}' cannot be read: {error}; compress the model again") from error
