"""What a server tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from inn.server.engine import Engine

KIND = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counts of requests, and what the engine counts, in a registry of their own.

    Example: ``Metrics(engine).text()``
    """

    def __init__(self, engine: Engine):
        self.engine, self.registry = engine, CollectorRegistry()
        self.requests = Counter("inn_requests", "Requests by status.", ["status"], registry=self.registry)
        self.seconds = Histogram(
            "inn_request_seconds", "Seconds of a request.", buckets=SECONDS, registry=self.registry
        )
        self.first = Histogram(
            "inn_first_symbol_seconds", "Seconds to the first text.", buckets=SECONDS, registry=self.registry
        )
        self.registry.register(self)  # type: ignore[arg-type]

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Any]:
        """What the engine counts, asked for by the registry."""
        e = self.engine
        gauges = {
            "inn_streams_active": ("Streams that are read or written now.", e.active),
            "inn_streams_waiting": ("Streams that wait for a place.", e.waits),
            "inn_conversations": ("Conversations that are kept.", len(e.conversations)),
            "inn_conversation_bytes": ("Bytes of their states.", e.conversations.bytes),
        }
        counters = {
            "inn_symbols_read": ("Symbols of prompts.", e.read),
            "inn_symbols_written": ("Symbols written.", e.written),
            "inn_steps": ("Steps of all streams together.", e.steps),
            "inn_conversations_dropped": ("Conversations dropped by a limit.", e.conversations.dropped),
        }
        for name, (what, value) in gauges.items():
            yield GaugeMetricFamily(name, what, value=value)
        for name, (what, value) in counters.items():
            yield CounterMetricFamily(name, what, value=value)
        ended = CounterMetricFamily("inn_streams_ended", "Streams by how they ended.", labels=["reason"])
        for reason, count in sorted(e.ended.copy().items()):
            ended.add_metric([reason], count)
        yield ended
