"""Where a model's state stays when nothing happens, how fast it gets there, and what the Jacobian says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inn.analysis.dynamics.flat import jacobian
from inn.analysis.dynamics.rollout import Rollout, reads_symbols, still
from inn.analysis.stability.lyapunov import exact
from inn.nn.modes import evaluating
from inn.system.errors import InputError

MOST = 1024
"""Numbers of a state whose Jacobian is taken."""
NEWTON, HALVINGS = 50, 12
"""Newton's steps from a start, and how often one is halved until it leads down."""
NEAR = 1e-3
"""Two points whose distance is less, beside their size, are one."""


@dataclass(frozen=True)
class FixedPoints:
    """The fixed points that were found.

    Attributes:
        points: `[P, n]` float64, those first that most starts end at.
        speeds: `[P]` how far a step still leads from each, beside its size.
        spectra: `[P, n]` eigenvalues of the Jacobian of a step at each, the largest first.
        basins: `[P]` the share of starts that end there when nothing happens.
        restless: the share that ends at none of them.
    """

    points: Tensor
    speeds: list[float]
    spectra: Tensor
    basins: list[float]
    restless: float

    @property
    def stable(self) -> list[bool]:
        """Whether small changes of each point fade: all eigenvalues are inside the unit circle."""
        return [bool(values.abs().max() < 1) for values in self.spectra]


def fixed_points(
    path: Rollout,
    *,
    at: Tensor | int | None = None,
    starts: int = 16,
    steps: int = 500,
    tolerance: float = 1e-6,
) -> FixedPoints:
    """States that a step leads to themselves, searched from many states of a roll-out.

    From each start the model runs undisturbed, which finds what attracts; and Newton's method looks for what need not
    (Sussillo & Barak 2013 minimise the speed for the same end). Done in float64, with the lesion of the path. A network
    of ReLUs without biases has one at 0 whatever it learned: there this says nothing.

    Args:
        path: of `rollout`.
        at: the input that stays, `[F]`, or a symbol; zeros (a signal's mean) when not given. Models of symbols need it.
        starts: states of the path, evenly spread over it.
        steps: that the model runs from each.
        tolerance: a point is fixed whose step is shorter, beside its size.

    Raises:
        InputError: for a state of more than 1,024 numbers, and a model of symbols without `at`.

    >>> from inn import Graph
    >>> from inn.analysis.dynamics.rollout import rollout
    >>> found = fixed_points(rollout(Graph(neurons=2, width=3, rounds=1, memory="gru"), steps=8, spread=1.0))
    >>> found.points.shape[1], found.stable[0]
    (6, True)
    """
    step = _step(path, _input(path, at))
    every = path.states.flatten(0, 1)
    begun = every[torch.linspace(0, len(every) - 1, min(starts, len(every))).long()].double()
    ended = begun
    for _ in range(steps):
        ended = step(ended)
    settled = [end for end, speed in zip(ended, _speeds(step, ended)) if speed < tolerance]
    searched = (_newton(step, start, tolerance) for start in begun)
    points: list[Tensor] = []
    for point in [*settled, *(p for p in searched if p is not None)]:
        if all(_apart(point, other) >= NEAR for other in points):
            points.append(point)
    basins = [sum(_apart(end, point) < NEAR for end in settled) / len(begun) for point in points]
    order = sorted(range(len(points)), key=lambda k: -basins[k])
    found = torch.stack([points[k] for k in order]) if points else begun[:0]
    spectra = [_eigenvalues(step, point) for point in found]
    return FixedPoints(
        found,
        _speeds(step, found).tolist() if points else [],
        torch.stack(spectra) if spectra else found.to(torch.complex128),
        [basins[k] for k in order],
        1 - len(settled) / len(begun),
    )


def spectra(path: Rollout, at: Sequence[int], stream: int = 0) -> Tensor:
    """Eigenvalues of the Jacobian of steps of a roll-out, as they were driven: `[len(at), n]`, the largest first.

    Args:
        path: of `rollout`.
        at: steps, from 0.
        stream: of which stream.

    Raises `InputError` for a state of more than 1,024 numbers, and for steps and streams that are not there.

    >>> from inn import Graph
    >>> from inn.analysis.dynamics.rollout import rollout
    >>> spectra(rollout(Graph(neurons=2, width=3, rounds=1, memory="elman"), steps=8, noise=1.0), at=[0, 7]).shape
    torch.Size([2, 6])
    """
    streams, steps = path.outputs.shape[:2]
    if not 0 <= stream < streams or not all(0 <= t < steps for t in at):
        raise InputError(f"a roll-out of {streams} streams and {steps} steps has no step {list(at)} of stream {stream}")
    return torch.stack([_eigenvalues(_step(path, path.inputs[stream, t]), path.states[stream, t].double()) for t in at])


def _input(path: Rollout, at: Tensor | int | None) -> Tensor:
    if at is not None:
        return torch.as_tensor(at)
    if reads_symbols(path.model):
        raise InputError(f"a {type(path.model).__name__} reads symbols; say by `at` which one it reads all the time")
    return still(path.model)


def _step(path: Rollout, given: Tensor) -> Callable[[Tensor], Tensor]:
    """A step of the path's model under an input that stays, on vectors `[B, n]` in float64."""
    if path.flat.size > MOST:
        raise InputError(
            f"the Jacobian of {path.flat.size:,} numbers is too large, {MOST:,} are the most; "
            "inn.analysis.stability measures the largest exponents of such a state"
        )
    model, like = exact(path.model), path.last.select_batch([0]).double()  # type: ignore[arg-type]
    factor = torch.ones(path.flat.size, dtype=torch.float64)
    for n, value in path.lesion.items():
        factor[path.flat.neurons == n] = value
    given = given.double() if given.is_floating_point() else given

    def step(vectors: Tensor) -> Tensor:
        with evaluating(model), torch.no_grad():
            x = given.expand(len(vectors), 1, *given.shape)
            after = model(x, path.flat.state(vectors, like))[1]
        return path.flat.of(after) * factor

    return step


def _speeds(step: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    return (step(at) - at).norm(dim=1) / (1 + at.norm(dim=1))


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / (1 + b.norm()))


def _newton(step: Callable[[Tensor], Tensor], start: Tensor, tolerance: float) -> Tensor | None:
    """A fixed point near a start, by Newton's steps, halved until they lead down; None where they come to no end."""
    x, missing = start, step(start[None])[0] - start
    for _ in range(NEWTON):
        if float(missing.norm() / (1 + x.norm())) < tolerance:
            return x
        slope = jacobian(step, x) - torch.eye(len(x), dtype=x.dtype)
        if not slope.isfinite().all():
            return None
        move = torch.linalg.lstsq(slope, -missing[:, None], driver="gelsd").solution[:, 0]
        tried = x + move * 0.5 ** torch.arange(HALVINGS, dtype=x.dtype)[:, None]
        left = (step(tried) - tried).nan_to_num(torch.inf, torch.inf, torch.inf)
        best = int(left.norm(dim=1).argmin())
        if not left[best].norm() < missing.norm():
            return None
        x, missing = tried[best], left[best]
    return None


def _eigenvalues(step: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    values = torch.linalg.eigvals(jacobian(step, at))
    return values[values.abs().argsort(descending=True)]
