"""Signs that training goes wrong: a loss that settled where a table of counts would, and neurons that are all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FLOOR_REACH = 0.02
"""Bits within which a settled loss counts as being at a floor."""
FLAT = 0.01
"""A loss is flat when its trend over the window changes it by less than this share."""
ALIKE = 1.5
"""Effective neurons below which a population counts as collapsed, once a third of the run is done."""
IDENTICAL = 1.001
"""Effective neurons below which the neurons are one and the same, at any time."""
SILENT = 100
"""Steps without a spike after which a population of spiking units counts as silent."""
_LINES = 6  # fewer say nothing about a trend


def settled_floor(
    logged: Sequence[tuple[int, float]], total: int, floors: Mapping[str, float]
) -> tuple[str, float] | None:
    """The floor that a training loss has settled on, with the loss it settled at; None when it has not.

    Looked at once a third of the run is done: the last third of what was logged, its least-squares trend flat and its
    mean within 0.02 bits of a floor.

    Args:
        logged: (step, training loss in bits per symbol), oldest first.
        total: steps of the whole run.
        floors: bits by name, measured on the training text.

    >>> flat = [(step, 4.1 + 0.01 * (step % 2)) for step in range(30)]
    >>> settled_floor(flat, 60, {"uniform": 4.75, "unigram": 4.11})[0]
    'unigram'
    """
    if not logged or logged[-1][0] < total / 3:
        return None
    window = [(s, b) for s, b in logged if s > logged[-1][0] * 2 / 3]
    if len(window) < _LINES:
        return None
    mean_step = sum(s for s, _ in window) / len(window)
    mean = sum(b for _, b in window) / len(window)
    spread = sum((s - mean_step) ** 2 for s, _ in window)
    slope = sum((s - mean_step) * (b - mean) for s, b in window) / spread
    if abs(slope * (window[-1][0] - window[0][0])) >= FLAT * mean:
        return None
    name = min(floors, key=lambda name: abs(floors[name] - mean), default=None)
    return (name, mean) if name is not None and abs(floors[name] - mean) <= FLOOR_REACH else None


def neurons_alike(effective: float, step: int, total: int) -> bool:
    """Whether a population amounts to one neuron.

    Young neurons all say the same simple thing and part later, so only identity counts before a third of the run.

    >>> neurons_alike(1.2, 10, 100), neurons_alike(1.2, 50, 100), neurons_alike(1.0, 10, 100)
    (False, True, True)
    """
    return effective < (ALIKE if step >= total / 3 else IDENTICAL)


def silent(logged: Sequence[tuple[int, Mapping[str, float]]]) -> list[str]:
    """The spiking populations that have not fired for 100 steps, by name.

    Args:
        logged: (step, the share of units that fired by population), oldest first.

    >>> silent([(10, {"a": 0.1, "b": 0.0}), (60, {"a": 0.0, "b": 0.0}), (110, {"a": 0.0, "b": 0.0})])
    ['b']
    """
    found = []
    for name in logged[-1][1] if logged else ():
        first = None
        for step, rates in reversed(logged):
            if rates.get(name) != 0:
                break
            first = step
        if first is not None and logged[-1][0] - first >= SILENT:
            found.append(name)
    return found


def floor_warning(name: str, floor: float, bits: float, unit: str) -> str:
    """The sentence about a loss that settled on a floor."""
    answers = {"constant": "an answer that is always the same", "last value": "repeating the last value"}
    what = answers.get(name, f"a {name} table")
    return (
        f"the loss has settled at {bits:.3f} bits per {unit}, which is what {what} gets ({floor:.3f}); "
        "check the data and that time runs along the second axis before changing the optimiser"
    )


def alike_warning(effective: float, neurons: int) -> str:
    """The sentence about a population that amounts to one neuron."""
    return (
        f"the {neurons} neurons amount to {effective:.2f}: they say the same thing; give them something of their own "
        "(weights: separate, identity: embedding) or collapse() the model into one neuron"
    )


def silent_warning(name: str) -> str:
    """The sentence about a population that does not fire."""
    return (
        f"no unit of {name} has fired for {SILENT} steps: currents do not reach the threshold, and what does not fire "
        "says nothing; lower model.memory.threshold, or give its neurons larger inputs"
    )
