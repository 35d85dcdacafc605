"""How large a study's runs are at each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SCALES = ("smoke", "cpu", "gpu")
"""`smoke`: a minute, shows that the study runs. `cpu`: two cores, no run above 25 minutes. `gpu`: the paper's size."""

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """What a study trains at one scale."""

    recipe: str
    """The recipe its runs start from; it has every kind of model at about equal parameters."""
    settings: Fields = field(default_factory=dict)
    """Settings over the recipe's, for every run: values by dotted name."""
    rates: tuple[float, ...] = (3e-3, 6e-3, 1.2e-2)
    """The sweep of peak learning rates that each model's best one is taken from."""
    rates_of: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Sweeps of models that learn nothing at those rates, by label."""
    further: int = 3
    """Rates that the sweep may add beyond its ends, while the best one is the last."""
    seeds: int = 1
    """Seeds per row, unless the command line says otherwise."""
    scored: int | None = 1_000_000
    """Symbols of a part that a final score reads; None reads all."""
    models: Mapping[str, Fields] = field(default_factory=dict)
    """Models that the recipe does not have, by label: fields of `--model`."""

    def but(self, **settings: Any) -> Size:
        """The same with other settings; `train_lr=1` stands for `train.lr`.

        >>> Size("demo").but(train_symbols=100).settings
        {'train.symbols': 100}
        """
        return replace(self, settings={**self.settings, **{k.replace("_", ".", 1): v for k, v in settings.items()}})


def published(**fields: Any) -> dict[str, Any]:
    """Fields of `--model` for the paper's architecture at another size (`paper-fixed`; `paper` has embedding_std=1).

    >>> from inn.config.assemble import model_config
    >>> at_its_size = published(neurons=32, width=256, rounds=6, dt_rank=16)
    >>> model_config(**at_its_size) == model_config(preset="paper-fixed")
    True
    """
    return {"kind": "inn", "preset": "paper-fixed", "dt_rank": None, **fields}  # the rank follows the width


def distinct(**fields: Any) -> dict[str, Any]:
    """Fields of `--model` for the published idea with neurons that differ (preset `distinct`)."""
    return {"kind": "inn", "preset": "distinct", **fields}


POST_NORM = {"transformer-paper": (3e-4, 6e-4, 1.2e-3)}
"""From 1.5e-3 on the published Transformer, whose norms come after, stays at the unigram floor."""

SHALLOW = "lstm, one layer"
"""Learns faster than two layers, which stay where symbols are predicted by their frequency for long."""

_QUIET = {"train.sample_every": 0, "train.checkpoint_every": 1_000_000}
_SMOKE = {
    **_QUIET, "data.corpus": "pydoc", "data.vocabulary": "characters", "data.batch": 8, "data.window": 32,
    "train.symbols": 1024, "train.log_every": 2, "train.eval_every": 2, "train.eval_symbols": 500,
}  # fmt: skip

TEXT8 = {
    "smoke": Size(
        "study-smoke", _SMOKE, rates=(3e-3, 1e-2), further=0, seeds=1, scored=1000,
        models={"inn-paper-fixed": published(neurons=3, width=16, rounds=2, heads=2),
                "inn-paper": published(neurons=3, width=16, rounds=2, heads=2, embedding_std=1.0),
                "inn-distinct": distinct(neurons=3, width=12, rounds=2, heads=2),
                SHALLOW: {"kind": "lstm", "width": 16, "layers": 1}},
    ),
    "cpu": Size(
        "text8-last", {**_QUIET, "train.eval_every": 100, "train.eval_symbols": 200_000}, seeds=3, rates_of=POST_NORM,
        models={"inn-paper-fixed": published(neurons=4, width=112, rounds=3),
                "inn-paper": published(neurons=4, width=112, rounds=3, embedding_std=1.0),
                "inn-distinct": distinct(neurons=4, width=56, rounds=3),
                SHALLOW: {"kind": "lstm", "width": 240, "layers": 1}},
    ),
    "gpu": Size(
        "text8-paper", {}, rates=(2e-4, 4e-4, 8e-4, 1.6e-3), seeds=3, scored=None,
        models={"inn-paper-fixed": {"kind": "inn", "preset": "paper-fixed"},
                "inn-paper": {"kind": "inn", "preset": "paper"},
                "inn-distinct": distinct(neurons=8, width=96, rounds=5),
                SHALLOW: {"kind": "lstm", "width": 720, "layers": 1}},
    ),
}  # fmt: skip
"""text8 at about equal parameters: under 0.5 M and 2 M characters on a CPU; the published 4.2 M, one pass, on a GPU."""
