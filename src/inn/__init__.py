"""INN: sequence models that are graphs of neurons.

>>> import inn, torch
>>> model = inn.INN(vocab=256, neurons=8, width=64, rounds=4)
>>> logits, state = model(torch.randint(256, (1, 20)))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from inn.analysis.recording.record import record
    from inn.config.graph import GraphConfig
    from inn.config.models import INNConfig, model_config
    from inn.models.build import build_model
    from inn.models.inn import INN
    from inn.nn.graph import Graph
    from inn.nn.routing.edges import Edges
    from inn.nn.state import State
    from inn.runs.load import load
    from inn.surgery.collapse import collapse
    from inn.system.errors import InputError

_HOME = {
    "INN": "inn.models.inn",
    "Graph": "inn.nn.graph",
    "INNConfig": "inn.config.models",
    "GraphConfig": "inn.config.graph",
    "model_config": "inn.config.models",
    "build_model": "inn.models.build",
    "State": "inn.nn.state",
    "Edges": "inn.nn.routing.edges",
    "InputError": "inn.system.errors",
    "collapse": "inn.surgery.collapse",
    "load": "inn.runs.load",
    "record": "inn.analysis.recording.record",
}
__all__ = [
    "INN",
    "Edges",
    "Graph",
    "GraphConfig",
    "INNConfig",
    "InputError",
    "State",
    "__version__",
    "build_model",
    "collapse",
    "load",
    "model_config",
    "record",
]


def __getattr__(name: str) -> Any:
    # Names load on first use, so that `inn --help` need not wait for PyTorch.
    if name not in _HOME:
        raise AttributeError(f"module 'inn' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
