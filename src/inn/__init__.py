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
    from inn.config.assemble import graph_config, model_config
    from inn.config.graph import GraphConfig
    from inn.config.models import INNConfig
    from inn.config.parts import Options
    from inn.data.base import Vocabulary
    from inn.data.examples import Examples
    from inn.data.tasks.base import Task, TaskOptions, task
    from inn.explorer.look import look
    from inn.inference.held_out import evaluate_run as evaluate
    from inn.models.build import build_model
    from inn.models.diagram import diagram
    from inn.models.generate import generate
    from inn.models.inn import INN
    from inn.models.sequence import SequenceModel
    from inn.nn.gates.base import Gate
    from inn.nn.graph import Graph
    from inn.nn.inner.base import InnerMap
    from inn.nn.memory.base import Memory
    from inn.nn.outputs import Last, Outputs
    from inn.nn.population import NeuronLinear
    from inn.nn.readout import Readout
    from inn.nn.recall.base import Recall
    from inn.nn.recall.contexts import Context
    from inn.nn.routing.base import Router, WeightedRouter
    from inn.nn.state import State
    from inn.nn.topology.base import Topology
    from inn.nn.topology.edges import Edges
    from inn.registry import register
    from inn.runs.load import load
    from inn.surgery.collapse import collapse
    from inn.surgery.graft import graft
    from inn.surgery.learn_on import learn_on
    from inn.surgery.merge import merge
    from inn.surgery.neurons import grow, keep
    from inn.surgery.organ import Organ, cut
    from inn.surgery.split import split, unsplit
    from inn.system.errors import InputError
    from inn.training.objectives.base import Objective
    from inn.training.start import train

_HOME = {
    "INN": "inn.models.inn",
    "Graph": "inn.nn.graph",
    "State": "inn.nn.state",
    "Outputs": "inn.nn.outputs",
    "Last": "inn.nn.outputs",
    "Edges": "inn.nn.topology.edges",
    "Memory": "inn.nn.memory.base",
    "Router": "inn.nn.routing.base",
    "WeightedRouter": "inn.nn.routing.base",
    "Topology": "inn.nn.topology.base",
    "InnerMap": "inn.nn.inner.base",
    "Gate": "inn.nn.gates.base",
    "Readout": "inn.nn.readout",
    "Context": "inn.nn.recall.contexts",
    "Recall": "inn.nn.recall.base",
    "Objective": "inn.training.objectives.base",
    "Vocabulary": "inn.data.base",
    "Task": "inn.data.tasks.base",
    "TaskOptions": "inn.data.tasks.base",
    "Examples": "inn.data.examples",
    "SequenceModel": "inn.models.sequence",
    "NeuronLinear": "inn.nn.population",
    "Options": "inn.config.parts",
    "Organ": "inn.surgery.organ",
    "INNConfig": "inn.config.models",
    "GraphConfig": "inn.config.graph",
    "InputError": "inn.system.errors",
    "build_model": "inn.models.build",
    "collapse": "inn.surgery.collapse",
    "cut": "inn.surgery.organ",
    "diagram": "inn.models.diagram",
    "evaluate": "inn.inference.held_out:evaluate_run",
    "generate": "inn.models.generate",
    "graph_config": "inn.config.assemble",
    "graft": "inn.surgery.graft",
    "grow": "inn.surgery.neurons",
    "keep": "inn.surgery.neurons",
    "learn_on": "inn.surgery.learn_on",
    "load": "inn.runs.load",
    "look": "inn.explorer.look",
    "merge": "inn.surgery.merge",
    "model_config": "inn.config.assemble",
    "record": "inn.analysis.recording.record",
    "register": "inn.registry",
    "split": "inn.surgery.split",
    "task": "inn.data.tasks.base",
    "train": "inn.training.start",
    "unsplit": "inn.surgery.split",
}
"""Where each public name is: `module`, or `module:name` where it has another name there."""

__all__ = [
    "INN",
    "Context",
    "Edges",
    "Examples",
    "Gate",
    "Graph",
    "GraphConfig",
    "INNConfig",
    "InnerMap",
    "InputError",
    "Last",
    "Memory",
    "NeuronLinear",
    "Objective",
    "Options",
    "Organ",
    "Outputs",
    "Readout",
    "Recall",
    "Router",
    "SequenceModel",
    "State",
    "Task",
    "TaskOptions",
    "Topology",
    "Vocabulary",
    "WeightedRouter",
    "__version__",
    "build_model",
    "collapse",
    "cut",
    "diagram",
    "evaluate",
    "generate",
    "graft",
    "graph_config",
    "grow",
    "keep",
    "learn_on",
    "load",
    "look",
    "merge",
    "model_config",
    "record",
    "register",
    "split",
    "task",
    "train",
    "unsplit",
]


def __getattr__(name: str) -> Any:
    # Names load on first use, so that `inn --help` need not wait for PyTorch.
    if name not in _HOME:
        raise AttributeError(f"module 'inn' has no attribute '{name}'")
    module, _, there = _HOME[name].partition(":")
    return getattr(import_module(module), there or name)


def __dir__() -> list[str]:
    return sorted(__all__)
