"""What all strategies of several processes share: random numbers, and where a resumed run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from inn.models.sequence import SequenceModel
from inn.nn.recall.base import Recall
from inn.runs import checkpoint as checkpoints
from inn.runs.checkpoint import Checkpoint
from inn.training.parallel.group import Group
from inn.training.parallel.single import SingleDevice


class MultiProcess(SingleDevice):
    """Several processes that train one model, each on its rows of every batch.

    What is drawn for rows of a batch (which of them forget what they recall) is drawn in every process alike for all
    rows, from the random numbers that one process alone would use; so the number of processes changes nothing. What is
    drawn for single numbers (dropout) differs from process to process, and follows from the seed and the step.
    """

    def __init__(self, model: SequenceModel, group: Group, seed: int):
        super().__init__(model, group)
        self.seed = seed
        device = next(model.parameters()).device
        self.row_generator = torch.Generator(device)
        self.row_generator.set_state(
            torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        )
        self.recalls = [m for m in model.modules() if isinstance(m, Recall) and m.forget]

    def begin_step(self, step: int, batch: int) -> None:
        rows = self.group.rows(batch)
        for recall in self.recalls:
            drawn = torch.rand(batch, generator=self.row_generator, device=self.row_generator.device)
            recall.drawn = drawn[rows]
        torch.manual_seed((self.seed * 1_000_003 + step) * 65_537 + self.group.rank)

    def pack_rng(self) -> dict[str, Tensor]:
        device = self.row_generator.device
        name = "cpu" if device.type == "cpu" else f"{device.type}:0"
        return {**({"cpu": torch.get_rng_state()} if name != "cpu" else {}), name: self.row_generator.get_state()}

    def unpack_rng(self, states: Mapping[str, Tensor]) -> None:
        found = states.get("cpu" if self.row_generator.device.type == "cpu" else "cuda:0")
        if found is not None:
            self.row_generator.set_state(found)

    def load_latest(self, folder: Path) -> tuple[Checkpoint | None, list[str]]:
        mine: list[Checkpoint | None] = [None]

        def choose() -> tuple[int | None, list[str]]:
            mine[0], notes = checkpoints.load_latest(folder, whole=not self.sharded)
            return None if mine[0] is None else mine[0].step, notes

        step, notes = self.group.on_main(choose)
        if step is not None and mine[0] is None:
            mine[0] = checkpoints.load(folder / checkpoints.name_of(step), whole=not self.sharded)
        return mine[0], notes
