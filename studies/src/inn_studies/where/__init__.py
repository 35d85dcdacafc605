"""`inn study where`: where a graph of neurons helps and where it does not; a file per row, one harness, one page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inn_studies.where.row import Row

ROWS: dict[str, str] = {
    "state": "State",
    "machines": "Machines",
    "needle": "Needle",
    "sessions": "Sessions",
    "gaps": "Gaps",
    "balls": "Balls",
    "speech": "Speech",
    "series": "Series",
    "forecast": "Forecast",
    "chaos": "Chaos",
    "damage": "Damage",
    "play": "Play",
}
"""Every row by name, in the order of the table: the class in the module of that name."""


def open_row(name: str) -> Row:
    """The row of this name, one of `ROWS`.

    >>> open_row("state").score
    'accuracy'
    """
    return getattr(import_module(f"inn_studies.where.{name}"), ROWS[name])()
