"""How many synapses, and which threshold: what sparse codes match by chance (arXiv 1601.00720), in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from inn.config.typed import typed
from inn.system.errors import InputError


@dataclass(frozen=True)
class Overlap:
    """How often a neuron that listens to some synapses is right about which code is active."""

    log10_false: float
    """Of `false`, the logarithm to base 10: there where `false` itself is too small for a number."""
    miss: float
    """Probability that a code which the neuron knows is not matched, for the noise that there is."""
    best: int
    """The threshold, of all from 1, at which `false + miss` is least."""

    @property
    def false(self) -> float:
        """Probability that a random code is matched."""
        return 10.0**self.log10_false


@typed
def overlap(n: int, active: int, synapses: int, threshold: int, *, union: int = 1, noise: float = 0.0) -> Overlap:
    """False and missed matches of a neuron that knows sparse codes by some of their cells.

    A code is `active` cells of n, at random. The neuron has synapses to `synapses` cells of a code that it knows, and
    matches what has at least `threshold` of them active. Of a random code b of the s synapses are active with
    probability C(s, b) C(n - s, a - b) / C(n, a); false matches are the tail from the threshold on. With a `union` of M
    codes the neuron has M s synapses and the same threshold. With noise each synapse's cell is silent with that
    probability, and a known code is missed where fewer than the threshold are left. All of it is computed in
    logarithms, so that nothing overflows at n = 10^6.

    Args:
        n: cells there are; neurons that can be active.
        active: of them, how many a code has.
        synapses: to cells of each code that is known, at most `active`.
        threshold: active synapses that make a match, 1 to `synapses`.
        union: codes that are known.
        noise: share of a code's cells that are silent, 0 to 1.

    Raises `InputError` for numbers that do not fit one another.

    >>> f"{overlap(n=2048, active=40, synapses=20, threshold=10).false:.1e}"
    '3.9e-13'
    """
    if not 1 <= active <= n:
        raise InputError(f"active must be 1 to n = {n}, not {active}")
    if not 1 <= synapses <= active:
        raise InputError(f"synapses must be 1 to active = {active}, not {synapses}; a code has no more cells")
    if not 1 <= threshold <= synapses:
        raise InputError(f"threshold must be 1 to synapses = {synapses}, not {threshold}")
    if not 1 <= union <= n // synapses:
        raise InputError(f"union must be 1 to n / synapses = {n // synapses}, not {union}; take fewer codes")
    if not 0 <= noise <= 1:
        raise InputError(f"noise is a share from 0 to 1, not {noise}")
    false, miss = _log_false(n, active, union * synapses), _log_miss(synapses, noise)
    errors = np.logaddexp(false[1 : synapses + 1], miss[1:])
    return Overlap(float(false[threshold]) / math.log(10), float(np.exp(miss[threshold])), 1 + int(errors.argmin()))


def _log_false(n: int, active: int, synapses: int) -> np.ndarray:
    """ln P(at least θ of the synapses are active) of a random code, for θ = 0 to `active`."""
    b = np.arange(active + 1)
    there = (b <= synapses) & (active - b <= n - synapses)
    b = b[there]
    found = np.full(active + 1, -np.inf)
    found[there] = _choose(synapses, b) + _choose(n - synapses, active - b) - _choose(n, np.array(active))
    return _tail(found)


def _log_miss(synapses: int, noise: float) -> np.ndarray:
    """ln P(fewer than θ of the synapses are left), for θ = 0 to `synapses`."""
    k = np.arange(synapses + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kept, gone = np.log1p(-noise), np.log(noise)
        each = (
            _choose(synapses, k) + np.where(k > 0, k * kept, 0.0) + np.where(k < synapses, (synapses - k) * gone, 0.0)
        )
    below = np.logaddexp.accumulate(each)
    return np.minimum(np.concatenate([[-np.inf], below[:-1]]), 0.0)


def _choose(n: int, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _tail(logs: np.ndarray) -> np.ndarray:
    """ln of the sums from each place to the end."""
    total = logs - logsumexp(logs)  # in place of the rounding of large factorials: what sums to 1
    return np.minimum(np.logaddexp.accumulate(total[::-1])[::-1], 0.0)
