"""The contracts of memories, routers, topologies, inner maps, gates, readouts, recall, models and tasks, as checks.

Each raises an `AssertionError` that says what does not hold. They take a class, or the name of a kind, and the options
to build it with; in a test of your own package:

>>> from inn.nn.memory.mamba import Mamba
>>> check_memory(Mamba, state=2, conv=2)
"""

from inn.testing.gates import check_gate
from inn.testing.graphs import check_memory, check_model, check_readout, check_router, check_topology
from inn.testing.inner import check_inner
from inn.testing.recall import check_recall
from inn.testing.tasks import check_task

__all__ = [
    "check_gate",
    "check_inner",
    "check_memory",
    "check_model",
    "check_readout",
    "check_recall",
    "check_router",
    "check_task",
    "check_topology",
]
