"""Several objectives at once: `nested+distil`, `distil+rewire`, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from inn.config.run import TrainConfig
from inn.data.streams import Batch
from inn.inference.evaluate import Score
from inn.system.errors import InputError
from inn.training.objectives.base import Context, Loss, MicroBatch, Objective, StepResult
from inn.training.objectives.predict import Predict


def stacked(kinds: Mapping[str, type[Objective]]) -> type[Objective]:
    """The class of these objectives together; they are asked in this order."""
    return type("Stacked", (Stacked,), {"kinds": dict(kinds)})


class Stacked(Objective):
    """Objectives that share a step: one of them says what the loss of a pass is, the others go `around` it or before
    and after the step.

    Raises `InputError` where two say what the loss is. Their states are kept under their names.
    """

    kinds: ClassVar[dict[str, type[Objective]]]

    def __init__(self, options: Any, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        say = [name for name, kind in self.kinds.items() if _says(kind)]
        if len(say) > 1:
            raise InputError(f"objectives '{say[0]}' and '{say[1]}' both say what the loss is; use one of them")
        self.parts = {name: kind(options, context, config) for name, kind in self.kinds.items()}
        self._loss = self.parts[say[0]].loss if say else Predict(options, context, config).loss
        self.reads_forward = all(part.reads_forward for part in self.parts.values())
        for part in reversed(self.parts.values()):
            self._loss = partial(part.around, loss=self._loss)

    def loss(self, batch: MicroBatch) -> Loss:
        return self._loss(batch)

    def before_run(self, batches: Iterator[Batch]) -> dict[str, float]:
        return {name: value for part in self.parts.values() for name, value in part.before_run(batches).items()}

    def before_step(self, step: int) -> None:
        for part in self.parts.values():
            part.before_step(step)

    def after_step(self, step: int, result: StepResult) -> None:
        for part in self.parts.values():
            part.after_step(step, result)

    def measure(self, score: Callable[[], Score]) -> dict[str, float]:
        return {name: value for part in self.parts.values() for name, value in part.measure(score).items()}

    def state_dict(self) -> dict[str, Any]:
        return {f"{kind}.{n}": v for kind, part in self.parts.items() for n, v in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for kind, part in self.parts.items():
            part.load_state_dict({n.removeprefix(f"{kind}."): v for n, v in state.items() if n.startswith(f"{kind}.")})


def _says(kind: type[Objective]) -> bool:
    """Whether an objective says what the loss of a pass is: it has a `loss`, and does not leave it to others."""
    return kind.around is Objective.around and kind.loss is not Predict.loss
