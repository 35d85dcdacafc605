"""Many requests, some of them hostile or cut off: none is lost, none gets another's text, and memory stays flat."""

from __future__ import annotations

import pytest

pytest.importorskip("inn.server.serving", reason="what [serve] brings is not installed", exc_type=ImportError)

from inn_benchmarks.serve import serve_memory


@pytest.mark.slow
@pytest.mark.loopback
def test_none_is_lost_or_crossed_and_memory_is_flat():
    measured = serve_memory(requests=1500, batch=300)
    assert measured.details["counts"] == {"right": 1470, "refused": 15, "cut": 15}
    assert measured.ratio < 30
