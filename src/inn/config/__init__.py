"""Every option of the library, as typed dataclasses: the only place where defaults live."""

from inn.config.graph import GraphConfig, MemoryConfig
from inn.config.models import (
    MODEL_CONFIGS,
    PRESETS,
    INNConfig,
    LSTMConfig,
    MambaStackConfig,
    NgramConfig,
    PaperTransformerConfig,
    SymbolsConfig,
    TransformerConfig,
    model_config,
)
from inn.config.run import DataConfig, RunConfig, TrainConfig, of_its_version
