"""Configurations of earlier versions."""

from __future__ import annotations

from typing import Any

FORMER = {f"recall_{option}": ("recall", option) for option in ("width", "slots", "forget")}
"""Fields of earlier versions that are an option of a part now: name -> part and option. They are still understood."""
_OF_EVERY_RUN = {"memory", "state", "conv", "expand", "dt_rank", "dt_min", "dt_max"}
"""Fields that runs of version 0.1 wrote out beside one another."""


def migrate(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the version meant that wrote it: runs of version 0.1 know nothing of recall, and had none.

    A run writes every field out; what a person wrote, who leaves out the defaults, comes back as it is.

    >>> migrate({"model": {"kind": "inn", "width": 32}})
    {'model': {'kind': 'inn', 'width': 32}}
    """
    model = tree.get("model")
    if isinstance(model, dict) and model.get("kind") == "inn" and set(model) >= _OF_EVERY_RUN:
        return {**tree, "model": {"recall": "none", **model}}
    return tree
