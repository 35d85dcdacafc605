"""The fields of a model's configuration that its data decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inn.system.errors import InputError

_FITTING = {"classes": ("classes",), "values": ("values", "quantiles"), "next": ("next", "values", "quantiles")}
"""The heads that can tell what data has, by the head that it has by itself."""
_TOLD = {"classes": "classes", "values": "values", "next": "the next step"}


def with_sizes(model: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model for data of these sizes; raises `InputError` for a model of another sort of data.

    A head that has been chosen stays, where it fits.

    >>> with_sizes({"kind": "lstm", "vocab": 256}, {"vocab": 3})["vocab"]
    3
    """
    if not sizes.keys() <= model.keys():
        needed, kind = ("a signal", "signal") if "features" in sizes else ("symbols", "inn")
        raise InputError(
            f"the data is {needed}, which a model of kind '{model['kind']}' does not read; set model.kind {kind}"
        )
    head = sizes.get("head", "")
    chosen = model["head"] if head in _FITTING else None
    if chosen in (None, "auto"):
        return {**model, **sizes}
    if chosen not in _FITTING[head]:
        raise InputError(f"the data has {_TOLD[head]} to tell, which head '{chosen}' does not; leave model.head out")
    return {**model, **sizes, "head": chosen}


def decided(model: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a model, by name, that its data decides.

    >>> decided({"kind": "lstm", "vocab": 27})
    ('vocab',)
    """
    return ("features", "outputs", "head") if "features" in model else ("vocab",)
