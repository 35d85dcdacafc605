"""The picture of stability: what is left of a push, over the symbols after it and over depth, model by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]


def draw_stability(found: Mapping[str, dict[str, Any]], figure: Figure) -> None:
    """Draw results of `stability`, by the names of the models, into an empty figure; bands are 95 % intervals."""
    left, right = figure.subplots(1, 2)
    for name, one in found.items():
        last = one["embedding"][-1]
        (line,) = left.plot(last["lags"], last["distance"]["mean"], label=name)
        left.fill_between(
            last["lags"], last["distance"]["low"], last["distance"]["high"], color=line.get_color(), alpha=0.2, lw=0
        )
        growth = one["depth"]["growth"]
        depths = [(depth + 1) / one["depths"] for depth in range(one["depths"])]
        right.plot(depths, growth["mean"], color=line.get_color(), marker="." if one["depths"] < 12 else "")
        right.fill_between(depths, growth["low"], growth["high"], color=line.get_color(), alpha=0.2, lw=0)
    left.set(
        xscale="log", yscale="log", xlabel="symbols after the push", ylabel="distance, of that one symbol after it",
        title="over time, at the last depth",
    )  # fmt: skip
    right.set(xlabel="depth, as a share", ylabel="ln of the distance over the push", title="over depth, at its symbol")
    right.axhline(0.0, color="grey", lw=0.8)
    left.legend(fontsize="small")
