"""How neurons talk: one file per router, one protocol (`Router`), one registry (`ROUTERS`)."""

from inn.routing.attention import Attention
from inn.routing.base import Router
from inn.routing.bus import Bus
from inn.routing.dendrites import Dendrites
from inn.routing.edges import Edges
from inn.routing.gate import Gate
from inn.routing.mixing import Mixing
from inn.routing.static import Static

ROUTERS: dict[str, type[Router]] = {
    "attention": Attention,
    "static": Static,
    "mixing": Mixing,
    "bus": Bus,
    "dendrites": Dendrites,
}
"""Kinds that `GraphConfig.router` may name, beside `none`."""

__all__ = ["ROUTERS", "Attention", "Bus", "Dendrites", "Edges", "Gate", "Mixing", "Router", "Static"]
