"""The strategy that a run is trained by, chosen by its settings and the number of processes."""

from __future__ import annotations

from inn.models.sequence import SequenceModel
from inn.training.parallel.ddp import DDP
from inn.training.parallel.group import Group
from inn.training.parallel.single import SingleDevice


def build_strategy(model: SequenceModel, group: Group, parallel: str, seed: int) -> SingleDevice:
    """How a group trains a model: `parallel` is `ddp` or `fsdp`; a process alone needs neither."""
    if group.world == 1:
        return SingleDevice(model, group)
    if parallel == "fsdp":
        from inn.training.parallel.fsdp import FSDP  # half a second that nothing else needs

        return FSDP(model, group, seed)
    return DDP(model, group, seed)
