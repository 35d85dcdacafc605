"""The fields of a model's configuration that its data decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inn.system.errors import InputError


def with_sizes(model: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model for data of these sizes; raises `InputError` for a model of another sort of data.

    A head that the user has chosen among those that predict numbers stays.

    >>> with_sizes({"kind": "lstm", "vocab": 256}, {"vocab": 3})["vocab"]
    3
    """
    if not sizes.keys() <= model.keys():
        needed, kind = ("a signal", "signal") if "features" in sizes else ("symbols", "inn")
        raise InputError(
            f"the data is {needed}, which a model of kind '{model['kind']}' does not read; set model.kind {kind}"
        )
    keeps = {"next": ("values", "quantiles"), "values": ("quantiles",)}.get(sizes.get("head", ""), ())
    return {**model, **{name: value for name, value in sizes.items() if name != "head" or model[name] not in keeps}}


def decided(model: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a model, by name, that its data decides.

    >>> decided({"kind": "lstm", "vocab": 27})
    ('vocab',)
    """
    return ("features", "outputs", "head") if "features" in model else ("vocab",)
