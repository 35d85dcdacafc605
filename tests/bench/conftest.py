"""Rows at toy size, and clocks that tell what the test wants."""

from __future__ import annotations

import pytest

from inn_benchmarks.measure import Effort, Times

TOY = Effort(rounds=1, seconds=0.0, most=1, sample=0.0, product=16)


@pytest.fixture
def toy() -> Effort:
    """One reading of everything, no repeats."""
    return TOY


@pytest.fixture
def clock(monkeypatch):
    """`clock(module, step=2.0, product=1.0)`: in that module every work takes as long as said, 1 s by default."""

    def set_clock(module: str, **seconds: float) -> None:
        def in_turns(works, effort):
            for work in works.values():
                work()
            return {name: Times((seconds.get(name, 1.0),)) for name in works}

        monkeypatch.setattr(f"inn_benchmarks.{module}.in_turns", in_turns)

    return set_clock
