"""Hugging Face: the same model behind the interface of `transformers`; importing this registers it there.

>>> import torch
>>> from transformers import AutoModelForCausalLM
>>> model = AutoModelForCausalLM.from_config(INNHFConfig(inn={"vocab": 27, "neurons": 2, "width": 8, "rounds": 1}))
>>> model(torch.zeros(1, 5, dtype=torch.long)).logits.shape
torch.Size([1, 5, 27])
"""

from __future__ import annotations

from inn.system.packages import require

try:
    from transformers import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping
    from transformers.core_model_loading import WeightRenaming
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
except ImportError:
    require("transformers", "inn.hf", "hf")
    raise

from inn.hf.cache import INNCache
from inn.hf.classify import INNForSequenceClassification
from inn.hf.config import INNHFConfig
from inn.hf.model import INNForCausalLM, INNModel
from inn.hf.tokenizer import INNTokenizer, build_tokenizer
from inn.models.names import CHILD, FILED

INNConfig = INNHFConfig
"""What exported folders call it: `modeling_inn.py` imports this name, and `config.json` asks that file for it."""

__all__ = [
    "INNCache",
    "INNConfig",
    "INNForCausalLM",
    "INNForSequenceClassification",
    "INNHFConfig",
    "INNModel",
    "INNTokenizer",
    "build_tokenizer",
]

# In files, and in adapters to them, the graph's weights have the name they always had.
_RENAMED = WeightRenaming(rf"^inn\.{FILED}\.", f"inn.{CHILD}.")
register_checkpoint_conversion_mapping(INNHFConfig.model_type, [_RENAMED], overwrite=True)
AutoConfig.register(INNHFConfig.model_type, INNHFConfig, exist_ok=True)
AutoModel.register(INNHFConfig, INNModel, exist_ok=True)
AutoModelForCausalLM.register(INNHFConfig, INNForCausalLM, exist_ok=True)
AutoModelForSequenceClassification.register(INNHFConfig, INNForSequenceClassification, exist_ok=True)
AutoTokenizer.register(INNHFConfig, fast_tokenizer_class=INNTokenizer, exist_ok=True)
# By this list `Trainer` tells whose labels are to be shifted, and a pipeline who writes.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[INNHFConfig.model_type] = INNForCausalLM.__name__
