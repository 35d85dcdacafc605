"""Every kind of model by name: what a configuration's `kind` builds."""

from __future__ import annotations

from typing import Any

from inn.baselines.lstm import LSTM
from inn.baselines.mamba_stack import MambaStack, TransposedMambaStack
from inn.baselines.ngram import Ngram
from inn.baselines.paper_transformer import PaperTransformer
from inn.baselines.transformer import Transformer
from inn.errors import lookup
from inn.model import INN
from inn.sequence import SequenceModel

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
    """Build the model that a configuration of `inn.config.MODEL_CONFIGS` describes, with fresh weights.

    Raises `InputError` for an unknown kind.

    >>> from inn.config import model_config
    >>> type(build_model(model_config("lstm", vocab=27, width=16))).__name__
    'LSTM'
    """
    return lookup("model kind", config.kind, MODELS)(config)
