"""Predict the next symbol."""

from __future__ import annotations

import torch.nn.functional as F

from inn.training.objectives.base import IGNORED, Loss, MicroBatch, Objective


class Predict(Objective):
    """Cross-entropy of the next symbol."""

    def loss(self, batch: MicroBatch) -> Loss:
        logits, state = self.forward(batch.inputs, batch.state, reset=batch.reset)
        ignored = batch.targets == IGNORED
        if not ignored.is_cpu or bool(ignored.any()):  # a NaN there would go round the loss and into the gradients
            logits = logits.masked_fill(ignored[..., None], 0.0)
        nats = F.cross_entropy(
            logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return Loss(nats, state)
