"""Predict the next symbol, or whatever else the targets are."""

from __future__ import annotations

from inn.models.views import mean_loss, told_by_all
from inn.training.objectives.base import Loss, MicroBatch, Objective


class Predict(Objective):
    """The model's own loss of its targets: of symbols, the cross-entropy of the next one."""

    reads_forward = True

    def loss(self, batch: MicroBatch) -> Loss:
        return self.around(batch, self._predicted)

    def _predicted(self, batch: MicroBatch) -> Loss:
        if every := told_by_all(self.model):
            y, state = self.forward(batch.inputs, batch.state, reset=batch.reset, **every, **batch.known)
            return Loss(mean_loss(self.model, y, batch.targets, batch.weights), state)
        y, state = self.forward(batch.inputs, batch.state, reset=batch.reset, **batch.known)
        return Loss(self.model.loss(y, batch.targets, batch.weights), state)
