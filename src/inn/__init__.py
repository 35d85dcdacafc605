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
    from inn.analysis import record
    from inn.config import GraphConfig, INNConfig, model_config
    from inn.errors import InputError
    from inn.graph import Graph
    from inn.model import INN
    from inn.models import build_model
    from inn.routing import Edges
    from inn.runs import load
    from inn.state import State
    from inn.surgery import collapse

_HOME = {
    "INN": "inn.model",
    "Graph": "inn.graph",
    "INNConfig": "inn.config",
    "GraphConfig": "inn.config",
    "model_config": "inn.config",
    "build_model": "inn.models",
    "State": "inn.state",
    "Edges": "inn.routing",
    "InputError": "inn.errors",
    "collapse": "inn.surgery",
    "load": "inn.runs",
    "record": "inn.analysis",
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
