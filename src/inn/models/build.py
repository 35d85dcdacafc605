"""Models from their configurations."""

from __future__ import annotations

from typing import Any

from inn.models.sequence import SequenceModel
from inn.registry import MODELS


def build_model(config: Any) -> SequenceModel:
    """Build the model that a configuration describes, of the kind it names, with fresh weights.

    Raises `InputError` for an unknown kind.

    >>> from inn.config.assemble import model_config
    >>> type(build_model(model_config("lstm", vocab=27, width=16))).__name__
    'LSTM'
    """
    MODELS.check(config.kind)
    return MODELS[config.kind](config)
