"""Two models of one kind side by side: which neurons are each other's counterparts, and do they play the same parts?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inn.analysis.comparison.matching import match, same_roles
from inn.analysis.observe import observe
from inn.analysis.recording.stretches import Neurons, Reading


def beside(ours: Neurons, theirs: Neurons, text: Reading, seed: int = 0) -> dict[str, Any]:
    """Match the neurons of two models over the same text, so that "neuron 7" means something in both.

    Returns:
        plain data: `order`, for each of our neurons its counterpart, -1 for none; `similarity`, CKA of each pair on the
        half of the text that did not choose them; `null` of their mean, with neurons paired at random; and `roles`, of
        `inn.analysis.same_roles`, None where the two differ in size or do not communicate.

    Raises `InputError` for a text that is too short.

    >>> import numpy as np
    >>> from inn import INN
    >>> from inn.analysis.recording.stretches import stretches
    >>> model = INN(vocab=5, neurons=3, width=8, rounds=1, recall="none")
    >>> beside(model, model, stretches(np.arange(900) ** 2 % 5, 300))["order"]
    [0, 1, 2]
    """
    seen = [observe(model, text) for model in (ours, theirs)]
    found = match(seen[0].outputs, seen[1].outputs, seed=seed)
    heard = [one.connectivity.mean(0) for one in seen if one.connectivity is not None]
    alike = len(heard) == 2 and heard[0].shape == heard[1].shape
    roles = same_roles(found.order, heard[0], heard[1], seed=seed) if alike else None
    return {
        "order": list(found.order),
        "similarity": [float(value) for value in found.similarity],
        "null": asdict(found.null),
        "roles": roles and {name: asdict(null) for name, null in roles.items()},
    }
