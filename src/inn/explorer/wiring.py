"""The wiring of a graph, as its page draws it: edges now and at the start, and who is a sensor or read out."""

from __future__ import annotations

from typing import Any

from torch import nn

from inn.analysis.measures.topology import at_start
from inn.explorer.pack import LARGE
from inn.nn.graph import Graph


def wiring_of(model: nn.Module) -> dict[str, Any] | None:
    """What there is to draw of the wiring of a model's graph; None where all hear all, and all take part alike.

    Returns:
        `kind` of the topology, `neurons`, and the `number` of edges now, each neuron's to itself among them; `edges`,
        rows `[to, from]` of those between neurons, with their `signs` and `lags` where there are any; `new`, which of
        them were not there at the start, and `gone`, rows of those that are no more (both None where the start is not
        known, or nothing changed); `sensors` and `read` (`[]`: all). Of more than 256 neurons there are no rows.

    >>> from inn import INN
    >>> wiring_of(INN(vocab=5, neurons=4, width=4, topology="ring", topology_options={"neighbours": 2}))["edges"]
    [[0, 1], [0, 3], [1, 0], [1, 2], [2, 1], [2, 3], [3, 0], [3, 2]]
    """
    graph = next((m for m in model.modules() if isinstance(m, Graph)), None)
    if graph is None or graph.round(0).router is None:
        return None
    config, now = graph.config, graph.topology
    sensors = [*(getattr(config.topology, "sensors", None) or [])]
    read = [*(getattr(config.readout, "read", None) or [])]
    if now.number == now.neurons**2 and now.of.lags is None and now.of.signs is None and not sensors and not read:
        return None
    found = {
        "kind": config.topology.kind, "neurons": now.neurons, "number": now.number, "sensors": sensors, "read": read,
        "edges": None, "new": None, "gone": None, "signs": None, "lags": None,
    }  # fmt: skip
    if now.neurons > LARGE:
        return found
    to, slot = now.of.open.cpu().nonzero(as_tuple=True)
    source = now.of.sources.cpu()[to, slot]
    order = sorted((i, j, k) for i, j, k in zip(to.tolist(), source.tolist(), slot.tolist()) if i != j)
    pairs = [(i, j) for i, j, _ in order]
    found["edges"] = [[*pair] for pair in pairs]
    for name in ("signs", "lags"):
        if (values := getattr(now.of, name)) is not None:
            found[name] = [int(values[i, k]) for i, _, k in order]
    if (first := at_start(graph)) is not None:
        were = {(i, j) for i, j in first.edges() if i != j}
        if were != set(pairs):
            found |= {"new": [pair not in were for pair in pairs], "gone": sorted(map(list, were - set(pairs)))}
    return found
