"""One folder for several sizes: neurons stand in the order in which they are needed, so a smaller size is a prefix.

What writes the neurons of a size are the first rows of what writes those of the largest. What reads them is fitted anew
for every size, and is all that each has of its own: of a gated MLP a third of its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from inn.compress.blocks import find_blocks, weight_of
from inn.compress.inputs import Rows
from inn.compress.neurons_layers import narrow, neuron_groups
from inn.compress.passes import StageReport
from inn.compress.plans import CompressionPlan, named_plan
from inn.compress.run import Outcome, compress
from inn.system.errors import InputError

FILE = "nested.safetensors"
"""What a folder has beside the model of its largest size: the readers of the smaller ones, as `SIZE/PATH`."""


@dataclass(frozen=True)
class Nested:
    """Several sizes of one model.

    Attributes:
        outcome: how the largest was made; the model is of that size.
        readers: for every smaller size, the weights `[m, k]` that read the first k neurons, by the paths of the layers.
    """

    outcome: Outcome
    readers: dict[float, dict[str, Tensor]]


@torch.no_grad()
def nest(
    model: nn.Module,
    rows: Rows,
    sizes: Iterable[float] = (0.8, 0.5, 0.3),
    plan: CompressionPlan | str = "neurons",
    *,
    report: StageReport = lambda what, done, of: None,
) -> Nested:
    """Cut the neurons of a model's MLPs to the largest of some sizes, in place, and find what reads the smaller ones.

    All sizes have one order of neurons, found at the largest. In memory is the dense model a second and a third time.

    Args:
        model, rows, report: as `inn.compress.compress` has them.
        sizes: shares of the neurons' parameters, above 0 and below 1.
        plan: one that cuts neurons and makes no states.

    Raises `InputError` for another plan, where an MLP keeps all its neurons, and as `inn.compress.compress` does.

    Example: ``save(nest(model, rows), folder)``; later ``at_size(model, folder, 0.5)`` of the opened model.
    """
    how = named_plan(plan) if isinstance(plan, str) else plan
    if not how.neurons or how.heads or how.topology != "none":
        raise InputError(
            f"several sizes in one folder are for plans of neurons alone, not '{plan}'; use plan 'neurons'"
        )
    largest, *smaller = sorted({float(size) for size in sizes}, reverse=True)
    dense = copy.deepcopy(model) if smaller else model
    outcome = compress(model, rows, how, largest, report=report)
    if outcome.dense:
        raise InputError(
            f"at {largest:g} '{outcome.dense[0]}' keeps all its neurons, in no order; make the largest size smaller"
        )
    readers: dict[float, dict[str, Tensor]] = {}
    for size in smaller:
        small = copy.deepcopy(dense)
        compress(small, rows, how, size, orders=outcome.orders, report=report)
        places = find_blocks(small)
        readers[size] = {
            places[group[0]].path: weight_of(small, places[group[0]]).clone() for group, _ in outcome.neurons
        }
    return Nested(outcome, readers)


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
    places = find_blocks(model)
    groups = {places[group[0]].path: group for group in neuron_groups(model, places)}
    own = f"{size}/"
    with _opened(folder) as file:
        found = {key.removeprefix(own): file.get_tensor(key) for key in file.keys() if key.startswith(own)}  # noqa: SIM118
    for path, weight in found.items():
        if path not in groups or weight.shape[1] > weight_of(model, places[groups[path][0]]).shape[1]:
            raise InputError(f"the sizes in '{folder}' are of another model: this one has no such neurons at '{path}'")
    for path, weight in found.items():
        narrow(model, [places[b] for b in groups[path]], torch.arange(weight.shape[1]), weight)
    import inn.compress.folder

    inn.compress.folder.mark(model)
    return model


def _opened(folder: Path | str) -> Any:
    try:
        return safe_open(Path(folder) / FILE, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{Path(folder) / FILE}' cannot be read: {error}; compress the model again") from error
