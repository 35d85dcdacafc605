"""Settings as trees of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree by the names that the command line has for them.

    >>> dotted({"model": {"router": {"kind": "bus"}, "width": 8}})
    {'model.router.kind': 'bus', 'model.width': 8}
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
