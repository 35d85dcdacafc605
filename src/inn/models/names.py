"""Names of weights: a model's graph is its child `backbone`; in files it is called `graph`, as it always was.

A child of that name collides with `torch.fx.GraphModule.graph`, so that nothing exported could be run. `model.graph`
still is the graph; only the names of parameters differ.
"""

from __future__ import annotations

CHILD, FILED = "backbone", "graph"


def current(name: str) -> str:
    """The name in a model of what a file calls so.

    >>> current("graph.rounds.0.memory.D"), current("backbone.ids"), current("head.bias")
    ('backbone.rounds.0.memory.D', 'backbone.ids', 'head.bias')
    """
    return CHILD + name.removeprefix(FILED) if name.startswith(f"{FILED}.") else name


def filed(name: str) -> str:
    """The name in files, and in what is printed, of what a model calls so.

    >>> filed("backbone.ids"), filed("head.bias")
    ('graph.ids', 'head.bias')
    """
    return FILED + name.removeprefix(CHILD) if name.startswith(f"{CHILD}.") else name
