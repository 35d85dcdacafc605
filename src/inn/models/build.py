"""Every kind of model by name: what a configuration's `kind` builds."""

from __future__ import annotations

from typing import Any

from inn.models.inn import INN
from inn.models.lstm import LSTM
from inn.models.mamba_stack import MambaStack, TransposedMambaStack
from inn.models.ngram import Ngram
from inn.models.paper_transformer import PaperTransformer
from inn.models.sequence import SequenceModel
from inn.models.transformer import Transformer
from inn.system.errors import lookup

MODELS: dict[str, type[SequenceModel]] = {
    "inn": INN,
    "lstm": LSTM,
    "transformer": Transformer,
    "transformer-paper": PaperTransformer,
    "mamba-stack": MambaStack,
    "mamba-stack-transposed": TransposedMambaStack,
    "ngram": Ngram,
}


def build_model(config: Any) -> SequenceModel:
    """Build the model that a configuration of `inn.config.models.MODEL_CONFIGS` describes, with fresh weights.

    Raises `InputError` for an unknown kind.

    >>> from inn.config.models import model_config
    >>> type(build_model(model_config("lstm", vocab=27, width=16))).__name__
    'LSTM'
    """
    return lookup("model kind", config.kind, MODELS)(config)
