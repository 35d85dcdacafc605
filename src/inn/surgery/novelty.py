"""Whether something is new to a model: descriptors of what it knows, made of data, and a threshold from chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.data.examples import Examples
from inn.nn.descriptors import RECORD, base_places, error
from inn.nn.modes import as_tokens, device_of, evaluating
from inn.surgery.reading import graph_of
from inn.surgery.stream import Domain
from inn.system.errors import InputError

UNITS, STEPS, NUMBERS = 1000, 100_000, 1 << 26
"""Units that a descriptor is made of, their steps, and the numbers to be held of them, at most."""
LEAST = 32
"""Stretches of a text by which it can be known."""
SIDE = 16
"""Units of a text that are read side by side."""
DRAWS, DEVIATIONS = 200, 5
"""Bootstrapped batches behind the threshold, and how many deviations above their mean it lies."""


@dataclass(frozen=True)
class Descriptor:
    """What one domain looks like: a row of `inn.nn.descriptors.Descriptors`, where the fields are explained."""

    center: Tensor
    scale: Tensor
    directions: Tensor
    offset: Tensor
    record: Tensor

    def errors(self, x: list[Tensor]) -> Tensor:
        """The mean error on each unit `[T, F]`, `[n]`."""
        own = (self.center, self.scale, self.directions, self.offset)
        return torch.stack([error(one, *own).mean() for one in x])

    def off(self, errors: Tensor) -> Tensor:
        """How far errors are from those of the record, in deviations: |z|."""
        return ((errors - self.record.mean()) / self.record.std().clamp_min(1e-12)).abs()

    def threshold(self, units: int, seed: int) -> float:
        """What the mean of |z| over so many units stays below by chance: mean + 5 deviations of bootstrapped ones."""
        draw = torch.Generator().manual_seed(seed)
        means = self.off(self.record)[torch.randint(len(self.record), (DRAWS, units), generator=draw)].mean(1)
        return float(means.mean() + DEVIATIONS * means.std())


def describe(x: list[Tensor], rank: int) -> Descriptor:
    """The descriptor of units `[T, F]`: made of every other one, its record of the rest."""
    made = torch.cat(x[::2]).double()
    center, variance = made.mean(0), made.var(0)
    scale = (variance + 0.01 * variance.mean() + 1e-12).sqrt()  # what hardly varies is not measured by that alone
    z = (made - center) / scale
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    values, rank = values.flip(0).clamp_min(1e-6), max(1, min(rank, len(values) - 1))
    rest = values[rank:].mean()
    directions = vectors.T.flip(0)[:rank] * (1 - rest / values[:rank]).clamp_min(0).sqrt()[:, None]
    scale = scale * rest.sqrt()
    offset = scale.log().mean() + (values[:rank] / rest).log().sum() / (2 * len(values))
    one = Descriptor(center.float(), scale.float(), directions.float(), offset.float(), torch.zeros(0))
    found = one.errors(x[1::2])
    return replace(one, record=found[torch.arange(RECORD) % len(found)])


def judged(x: list[Tensor], known: list[Descriptor], units: int, novelty: float | None, seed: int) -> tuple[float, int]:
    """How new units `[T, F]` are to what is known, and which descriptor finds them likeliest.

    Batches of `units` are looked at, and their median counts. A batch is as new as the mean of |z| is to the threshold
    of the descriptor, or to `novelty`, where that is the smallest: new above 1.
    """
    ratios, fits = [], []
    for one in known:
        limit = one.threshold(units, seed) if novelty is None else novelty
        errors = one.errors(x)
        off = one.off(errors)
        fits.append(float(errors.mean()))
        means = [float(off[at : at + units].mean()) for at in range(0, len(off) - units + 1, units)]
        ratios.append(float(np.median(means)) / limit)
    return min(ratios), int(np.argmin(fits))


def units_of(model: Any, domain: Domain, span: int, most: int = UNITS) -> list[Tensor]:
    """What the neurons of no organ hold after the last round, unit by unit: `[T, F]` each, on the CPU.

    A unit is a sequence, or of a text `span` symbols, read from places all over it after a stretch before.
    Raises `InputError` for a text with fewer than two units.
    """
    graph, found = graph_of(model), []
    places, width = base_places(graph.config), graph.config.width
    most = max(4, min(most, NUMBERS // (span * len(places) * width)))

    def see(module: Any, args: Any, result: Any) -> None:
        held.append(result[0].unflatten(-1, (-1, width))[:, :, places].flatten(2).float().cpu())

    held: list[Tensor] = []
    hook = graph.register_forward_hook(see)
    try:
        with evaluating(model), torch.no_grad():
            for inputs, lengths, counts, state in _reads(domain, span, most, device_of(model)):
                held.clear()
                state[0] = model(inputs, state[0])[1]
                if counts:
                    found += [row[:length] for row, length in zip(held[0], lengths)]
    finally:
        hook.remove()
    return found[:most]


def _reads(
    domain: Domain, span: int, most: int, device: torch.device
) -> Iterator[tuple[Tensor, list[int], bool, list[Any]]]:
    """What is to be read together: inputs, steps of each row, whether they count, and where its state is kept."""
    if isinstance(domain.train, Examples):
        longest = int(domain.train.lengths.max())
        count = min(len(domain.train), max(8, min(most, STEPS // longest)))
        drawn = np.random.default_rng(0).permutation(len(domain.train))[:count]
        for part in domain.train.take(drawn).batches(64):
            inputs, _, _ = part.padded()
            yield torch.from_numpy(inputs).to(device), part.lengths.tolist(), True, [None]
        return
    n = len(domain.train)
    if n < LEAST * span:
        raise InputError(
            f"'{domain.name}' has {n:,} symbols, and to know a text takes {LEAST} times {span} of them; "
            "give a longer one"
        )
    side = max(1, min(SIDE, n // (3 * span)))
    each = n // side
    state: list[Any] = [None]
    windows = min(each // span, 1 + max(2, min(most, STEPS // span) // side))
    for w in range(windows):
        rows = [domain.train[i * each + w * span : i * each + (w + 1) * span] for i in range(side)]
        yield as_tokens(np.stack(rows), device), [span] * side, w > 0, state
