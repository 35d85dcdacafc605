"""The interaction basis: a layer in directions that matter to what comes after it, as few and as apart as may be.

After *The Local Interaction Basis* (arXiv 2405.10928) and *Using Degeneracy in the Loss Landscape* (arXiv 2405.10927).
Principal components ask what varies; this asks what varies *and* is heard. Activations are whitened, the Jacobian to
the next layer's basis is turned to its principal axes, and each is scaled by what it is worth there. All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inn.models.inn import INN
from inn.nn.graph import Graph
from inn.nn.modes import device_of, learns
from inn.nn.roles import sensed
from inn.system.errors import InputError

SAMPLES = 100
"""Steps of data that a basis takes, at least."""
TINY = 1e-9
"""Share of the largest variance, or importance, below which a direction has none."""

Stage = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Basis:
    """Directions of a layer, the most important first.

    Attributes:
        mean: `[F]` float64, of the layer over the data; it is kept whatever is left out.
        into: `[K, F]`, a row for each direction: coordinates are `into @ (f - mean)`.
        back: `[F, K]`, the way back; what the data never did is left out, so K is at most F.
        importance: `[K]`, falling: how much the next layer's basis changes along a direction, for one standard
            deviation of it (an eigenvalue of the whitened Jacobian).
        edges: `[K', K]`: the mean square by which a direction moves each direction of the next layer's basis, or each
            output.
    """

    mean: Tensor
    into: Tensor
    back: Tensor
    importance: Tensor
    edges: Tensor

    def coordinates(self, f: Tensor) -> Tensor:
        """The coordinates `[..., K]` of activations `[..., F]`."""
        return (f.double() - self.mean) @ self.into.T

    def restore(self, coordinates: Tensor) -> Tensor:
        """Activations `[..., F]` of coordinates `[..., K]`; all K give back what the data did, exactly."""
        return coordinates @ self.back.T + self.mean

    def first(self, count: int) -> Basis:
        """The basis without all but its `count` most important directions."""
        return Basis(self.mean, self.into[:count], self.back[:, :count], self.importance[:count], self.edges[:, :count])


@learns
def interaction_basis(model: nn.Module, *, round: int, data: Tensor) -> Basis:
    """The basis of what goes into a round of a graph, or into a module of a sequence.

    With covariance G = U D Uᵀ of the layer and M = E[Jᵀ C′ᵀ C′ J], J the Jacobian to the next layer and C′ its basis
    (the identity at the end, so it is worked backwards), V Λ Vᵀ = D^½ Uᵀ M U D^½ gives C = Λ^½ Vᵀ D^-½ Uᵀ. Of a graph J
    is that of one step: what was remembered before it stands still.

    Where what two parts of a network compute does not depend on one another, and neither do their inputs, the
    directions of the one are not those of the other, however they were mixed. The limit is correlated inputs: whitening
    turns them into one another, and directions are then no purer than the coordinates were.

    Args:
        model: an `INN` (its end are the logits), a `Graph` (its end is the readout) without a gate, or an
            `nn.Sequential` of maps of the last axis.
        round: from 0; one more than the last is what a graph reads out of its neurons. Of an `nn.Sequential` a module.
        data: what the model reads: tokens `[B, T]`, inputs `[B, T, F]`, or `[S, F]` of an `nn.Sequential`.

    Raises `InputError` for another model, a round that is not there, fewer than 100 steps of data, and a layer that
    does not vary over it.

    The cost is that of as many backward passes as there are directions in the layers after it, twice.

    >>> layers = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    >>> x = torch.randn(200, 4)
    >>> basis = interaction_basis(layers, round=1, data=x)
    >>> bool(torch.allclose(basis.restore(basis.coordinates(layers[0](x))), layers[0](x).double()))
    True
    """
    stages, layers = _of(model, data)
    if not 0 <= round < len(stages):
        raise InputError(f"there is no round {round} to ask for a basis of; take one of 0 to {len(stages) - 1}")
    if len(layers[0]) < SAMPLES:
        raise InputError(f"{len(layers[0])} steps of data are too few for a basis; give {SAMPLES} or more")
    heard = torch.eye(layers[-1].shape[1], dtype=torch.float64, device=layers[-1].device)
    for at in range(len(stages) - 1, round, -1):
        heard = _basis(stages[at], layers[at], heard)[1]
    mean, into, back, importance = _basis(stages[round], layers[round], heard)
    rows = (rows @ back for rows in _rows(stages[round], layers[round], heard))
    return Basis(mean, into, back, importance, torch.stack([row.square().mean(0) for row in rows]))


def _basis(stage: Stage, f: Tensor, heard: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, the way into the basis, the way back, and importance of activations `[S, F]` that a stage reads."""
    mean = f.mean(0)
    variance, u = torch.linalg.eigh((f - mean).T @ (f - mean) / len(f))
    there = variance > TINY * variance[-1].clamp_min(torch.finfo(f.dtype).tiny)
    if not bool(there.any()):
        raise InputError("a layer does not vary over the data, so it has no directions; give other data")
    spread, u = variance[there].sqrt(), u[:, there]
    white = u * spread  # a step of one in any direction is one standard deviation
    m = torch.zeros(len(spread), len(spread), dtype=f.dtype, device=f.device)
    for row in _rows(stage, f, heard):
        m += (turned := row @ white).T @ turned / len(f)
    importance, v = torch.linalg.eigh(m)
    importance, v = importance.flip(0).clamp_min(0.0), v.flip(1)
    # What is not heard at all would have length 0, and no way back: it keeps a length too small to matter.
    scale = importance.clamp_min(TINY * float(importance[0]) or 1.0).sqrt()
    return mean, scale[:, None] * (v.T / spread) @ u.T, white @ v / scale, importance


def _rows(stage: Stage, f: Tensor, heard: Tensor) -> Iterator[Tensor]:
    """For each row of `heard` `[K, F']` the gradient `[S, F]` of that coordinate of what a stage makes of f."""
    with torch.enable_grad():
        given = f.detach().requires_grad_()
        told = stage(given)
        for direction in heard:
            yield torch.autograd.grad(told, given, direction.expand_as(told), retain_graph=True)[0]


def _of(model: nn.Module, data: Tensor) -> tuple[list[Stage], list[Tensor]]:
    """The stages of a model, and what each reads of the data and the last one gives, `[S, F]` float64 each."""
    if not isinstance(model, (INN, Graph, nn.Sequential)):
        raise InputError(
            f"an interaction basis is of an INN, a Graph or an nn.Sequential, not of a {type(model).__name__}"
        )
    model = deepcopy(model).double().eval()
    with torch.no_grad():
        if isinstance(model, nn.Sequential):
            stages, x = list(model), data.double().flatten(0, -2)
        else:
            stages, x = _of_graph(model, data.to(device_of(model)))
        layers = [x]
        for stage in stages:
            layers.append(stage(layers[-1]))
    return stages, layers


def _of_graph(model: INN | Graph, data: Tensor) -> tuple[list[Stage], Tensor]:
    """Rounds, each with the state that was there before every step, and the readout; and what the first reads."""
    graph = model if isinstance(model, Graph) else model.graph
    c = graph.config
    if c.gate.kind != "none":
        raise InputError(f"a basis of a graph with gate '{c.gate.kind}' is not defined; take a graph without a gate")
    if isinstance(model, INN):
        x = model.embed(data)
        if model.recall is not None:
            tables = model.recall.initial_state(len(data))  # type: ignore[operator]
            x = x + sensed(model.recall.read_(data, tables, None)[0], graph.sensors)  # type: ignore[operator]
    else:
        x = graph.distribute(data.double())
    state, before = graph.initial_state(len(data)), []
    for t in range(x.shape[1]):
        before.append([state.round(r) for r in range(c.rounds)])
        state = graph.run(x[:, t : t + 1], state)[1]

    def stage(r: int) -> Stage:
        parts = {name: torch.cat([then[r][name] for then in before]) for name in before[0][r]}

        def run(f: Tensor) -> Tensor:
            y = graph.round(r)(f.view(-1, 1, c.neurons, c.width), parts, edges=graph.edges)[0]
            return y.reshape(len(f), -1)

        return run

    def read(f: Tensor) -> Tensor:
        y = graph.read(f.view(-1, 1, c.neurons, c.width))
        return (model.predict(model.norm(y)) if isinstance(model, INN) else y).reshape(len(f), -1)

    return [*(stage(r) for r in range(c.rounds)), read], x.transpose(0, 1).reshape(-1, c.neurons * c.width)
