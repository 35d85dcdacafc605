"""Tasks on real data, from packages that the library does not need: `inn train task:series --run DIR`."""

from __future__ import annotations

from importlib import import_module

from inn.registry import TASKS

KINDS = {"series": "series:Series", "spoken": "spoken:Spoken", "log-sessions": "logs:LogSessions"}
"""The tasks by name; entry points of this distribution, so that an installed one brings them everywhere."""


def register() -> None:
    """Have them in this process where the installed distribution is older, or there is none."""
    for name, place in KINDS.items():
        if name not in TASKS:
            module, kind = place.split(":")
            TASKS.register(name, getattr(import_module(f"inn_studies.tasks.{module}"), kind))
