"""Signs that training goes wrong: a loss settled where a table of counts would, neurons all alike, or all at rest."""

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
COLLAPSED = 200
"""Steps at which all neurons, or none, took part after which a gate that lets them rest counts as collapsed."""
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


def silent(logged: Sequence[tuple[int, Mapping[str, float]]], at: float = 0.0, steps: int = SILENT) -> list[str]:
    """The spiking populations that have not fired for 100 steps, by name; or what has been `at` a value for `steps`.

    Args:
        logged: (step, the share of units that fired by population), oldest first.

    >>> silent([(10, {"a": 0.1, "b": 0.0}), (60, {"a": 0.0, "b": 0.0}), (110, {"a": 0.0, "b": 0.0})])
    ['b']
    """
    found = []
    for name in logged[-1][1] if logged else ():
        first = None
        for step, rates in reversed(logged):
            if rates.get(name) != at:
                break
            first = step
        if first is not None and logged[-1][0] - first >= steps:
            found.append(name)
    return found


def collapsed(logged: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """The gates that have let all neurons take part for 200 steps, or none: 1.0 or 0.0 by name.

    Not the one that a graph asks once, whose options say how many take part.

    Args:
        logged: (step, the share of neurons that took part by gate), oldest first.

    >>> collapsed([(50, {"a": 1.0, "b": 0.0, "c": 0.3}), (250, {"a": 1.0, "b": 0.0, "c": 0.0})])
    {'b': 0.0, 'a': 1.0}
    """
    return {name: at for at in (0.0, 1.0) for name in silent(logged, at, COLLAPSED) if name != "gate"}


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


def collapsed_warning(name: str, share: float) -> str:
    """The sentence about a gate that lets all neurons take part, or none."""
    if share:
        return (
            f"all neurons have taken part at all steps for {COLLAPSED} steps by {name}: resting saves nothing; raise "
            "model.gate_penalty, the price of taking part, or leave the gate out"
        )
    return (
        f"no neuron has taken part at any step for {COLLAPSED} steps by {name}, and no gradient opens it again; where "
        "the loss suffers, lower model.gate_penalty, the price of taking part, and start anew"
    )
