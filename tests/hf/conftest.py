"""Small models behind `transformers`, and a run to export."""

from __future__ import annotations

import pytest
import torch
from transformers.utils import logging

from inn.config.assemble import model_config
from inn.hf import INNForCausalLM
from inn.models.build import build_model

logging.disable_progress_bar()

PLAIN = {"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "state": 4}
TINY = {**PLAIN, "recall_options": {"slots": 64, "width": 4}}
KINDS = {
    "default": {**TINY, "recall": [1, 2, 3]},
    "distinct": {**PLAIN, "preset": "distinct", "heads": 2},
    "paper": {**PLAIN, "preset": "paper", "heads": 2, "dt_rank": 1, "routing_dropout": 0.0},
    "untied": {**TINY, "tied": False, "embedding_width": 6},
    "adaptive": {**TINY, "tied": False, "head": "adaptive", "cutoffs": [4, 8]},
    "narrow": {**TINY, "embedding_width": 6},
    "mean": {**TINY, "readout": "mean"},
    "shared rounds": {**TINY, "share_rounds": True},
    "bus": {**TINY, "router": "bus", "bus_width": 5, "zero_start": False},
    "resting": {**TINY, "gate": "active"},
    "stack": {"kind": "mamba-stack", "vocab": 11, "width": 8, "layers": 2, "state": 4},
}


@pytest.fixture(scope="session")
def build():
    """Makes a model with every weight drawn anew, so that none is zero and no norm starts as it would.

    `steady`: nothing that it recalls is forgotten by chance in training.
    """

    def make(
        name: str = "default", dtype: torch.dtype = torch.float64, seed: int = 0, steady: bool = False, **fields
    ) -> INNForCausalLM:
        torch.manual_seed(seed)
        if steady and "recall_options" in KINDS[name]:
            fields["forget"] = 0.0
        inn = build_model(model_config(**{**KINDS[name], **fields}))
        with torch.no_grad():
            for p in inn.parameters():
                p.add_(torch.randn_like(p) * 0.2)
            for path, p in inn.named_parameters():
                if path.endswith("gate.bias"):  # some take part, some rest
                    p.zero_()
        return INNForCausalLM.wrap(inn.to(dtype).eval())

    return make


@pytest.fixture
def tokens():
    """Makes symbols, the same ones for the same shape."""
    return lambda *shape: torch.randint(11, shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=list(KINDS))
def kind(request) -> str:
    return request.param
