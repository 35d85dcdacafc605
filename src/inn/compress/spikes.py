"""Compressing an INN's activations: what its maps read becomes counts of spikes (`inn.nn.spikes`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from inn.config.graph import GraphConfig
from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn.system.errors import InputError

Model = TypeVar("Model", bound=SequenceModel)


def spiking(model: Model, k: float) -> Model:
    """A model of the same weights whose maps read counts of spikes, k for a number of mean size.

    The embedding and the head, and what is inside a memory's recurrence, read numbers as before. It can be trained on:
    gradients go through as if nothing were rounded.

    Args:
        model: a graph of neurons; it is left as it is.
        k: spikes; fewer are coarser, and more numbers send none.

    Raises `InputError` for a model without a graph of neurons, and for k of 0 or less.

    >>> from inn.models.inn import INN
    >>> spiking(INN(vocab=11, neurons=2, width=8, rounds=1), 2.0).config.spikes
    2.0
    """
    if not isinstance(model.config, GraphConfig):
        raise InputError(f"a model of kind '{model.config.kind}' has no graph of neurons whose maps could read spikes")
    if not k > 0:
        raise InputError(f"spikes must be above 0, not {k}; 2 costs little, 0.5 silences more than half")
    weight = next(model.parameters())
    new = build_model(replace(model.config, spikes=float(k))).to(weight)
    new.load_state_dict(model.state_dict())
    new.vocabulary, new.experience = model.vocabulary, model.experience
    return new.eval()  # type: ignore[return-value]
