"""Training in several processes: who they are, how they share a model, and what they send one another."""

from inn.training.parallel.engine import Engine, build_engine
from inn.training.parallel.group import ALONE, Group, ToldElsewhere, joined, launcher, local_device, restarted, speaks

__all__ = [
    "ALONE",
    "Engine",
    "Group",
    "ToldElsewhere",
    "build_engine",
    "joined",
    "launcher",
    "local_device",
    "restarted",
    "speaks",
]
