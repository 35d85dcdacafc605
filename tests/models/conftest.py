"""Small rivals in float64, every kind that reads symbols once."""

import pytest
import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.ngram import Ngram

VOCAB = 7
SMALL = {
    "lstm": {"width": 8, "layers": 2, "embedding_std": 1.0},
    "gru": {"width": 8, "layers": 2, "embedding_std": 1.0},
    "transformer": {"width": 8, "heads": 2, "layers": 2, "window": 5, "embedding_std": 0.5},
    "transformer-paper": {"width": 8, "heads": 2, "layers": 2, "hidden": 16, "window": 5, "embedding_std": 1.0},
    "mamba-stack": {"width": 8, "layers": 2, "state": 4, "embedding_std": 0.5},
    "mamba-stack-transposed": {"width": 8, "layers": 2, "state": 4, "embedding_std": 0.5},
    "ngram": {"order": 3},
}


def small(kind, **fields):
    torch.manual_seed(0)
    model = build_model(model_config(kind, vocab=VOCAB, **{**SMALL[kind], **fields})).double().eval()
    if isinstance(model, Ngram):
        model.fit(torch.randint(VOCAB, (5000,)))
    return model


@pytest.fixture(scope="session")
def build():
    """`build(kind, **fields)`: a small rival with seven symbols, in float64 and eval mode; the n-gram is fitted."""
    return small
