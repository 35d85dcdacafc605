"""Many requests, some of them hostile or cut off: none is lost, none gets another's text, and memory stays flat."""

from __future__ import annotations

import pytest

pytest.importorskip("inn.server.serving", reason="what [serve] brings is not installed", exc_type=ImportError)

from inn_benchmarks.serve import ServeSize, serve_memory


@pytest.mark.slow
@pytest.mark.loopback
def test_none_is_lost_or_crossed_and_memory_is_flat():
    measured = serve_memory(ServeSize(tokens=20), requests=1200, batch=240)
    assert measured.details["counts"] == {"right": 1176, "refused": 12, "cut": 12}
    assert measured.ratio < 30
