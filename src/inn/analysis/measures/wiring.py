"""Is what a graph has learned of a recorded population the circuit that made the recording?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from inn.analysis.controls.shuffle import Null
from inn.config.typed import typed
from inn.inference.examples import auroc
from inn.nn.graph import Graph
from inn.nn.topology.edges import as_matrix
from inn.system.errors import InputError


@dataclass(frozen=True)
class Wiring:
    """How well numbers for edges tell which edges a circuit has; what a cell tells of itself is left out.

    Attributes:
        auroc: the chance that an edge that is there has a larger number than one that is not.
        transposed: the same with the directions turned round, about a half where they are told.
        null: of `auroc`, the cells of the circuit in random orders.
    """

    auroc: float
    transposed: float
    null: Null


@typed
def wiring(weights: Tensor | np.ndarray, circuit: Tensor | np.ndarray, *, draws: int = 200, seed: int = 0) -> Wiring:
    """Compare numbers for edges with the circuit that is known (after Neuroformer, arXiv 2311.00136).

    Args:
        weights: `[N_to, N_from]`, larger where an edge is thought to be: `edge_sizes`, or routing weights of a tape.
        circuit: `[N_to, N_from]`, whose edges are what is not 0.
        draws: random orders of the cells for the null.
        seed: of the draws.

    Raises:
        InputError: where the two are not of the same cells, numbers are not finite, or the circuit has all
            edges or none.

    >>> circuit = np.eye(5, k=1)
    >>> wiring(circuit + 0.1, circuit, draws=20).auroc
    1.0
    """
    given, true = (np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, float) for x in (weights, circuit))
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.shape != true.shape:
        raise InputError(
            f"a circuit is told by as many cells to as from, not {list(given.shape)} of {list(true.shape)}"
        )
    if not (np.isfinite(given).all() and np.isfinite(true).all()):
        raise InputError("the edges of a circuit are told by finite numbers; these are not")
    off = ~np.eye(len(true), dtype=bool)
    there = true != 0
    if there[off].all() or not there[off].any():
        raise InputError("a circuit must have some edges and lack others; this one has all, or none")

    def told(of: np.ndarray) -> float:
        return auroc(given[off], of[off])

    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        order = rng.permutation(len(true))
        found.append(told(there[np.ix_(order, order)]))
    return Wiring(told(there), told(there.T), Null.of(told(there), found or [0.5]))


@typed
def edge_sizes(model: nn.Module) -> Tensor:
    """The size of the weights of each edge, of dendrites ‖R_ij‖: `[R, N_to, N_from]` float64, 0 where there is none.

    What could go over an edge, whatever is said; a recording's routing weights are what does.

    Raises `InputError` for a model without neurons, or whose router has no weights of its own for each edge.

    >>> from inn import Graph
    >>> edge_sizes(Graph(neurons=3, width=4, rounds=2)).shape
    torch.Size([2, 3, 3])
    """
    graph = next((m for m in model.modules() if isinstance(m, Graph)), None)
    if graph is None:
        raise InputError(f"a {type(model).__name__} has no graph of neurons; give an INN or a Graph")
    found, edges = [], graph.edges
    for r in range(graph.config.rounds):
        router = graph.round(r).router
        maps = [] if router is None else router.edge_weights()
        if not maps:
            raise InputError(
                f"router '{graph.config.router.kind}' has no weights of its own for each edge; record its routing"
            )
        sizes = torch.cat([view(weight.detach()).double().flatten(2).norm(dim=2) for weight, view in maps])
        found.append(sizes if edges is None else as_matrix(sizes * edges.open, edges.sources))
    return torch.stack(found)
