"""Learn from a trained model: its probabilities are targets beside the right symbols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inn.config.run import TrainConfig
from inn.data.examples import IGNORED
from inn.data.streams import Batch
from inn.models.names import blocks_of
from inn.models.sequence import SequenceModel
from inn.models.views import told_by_all
from inn.nn.modes import device_of
from inn.nn.state import State
from inn.runs.checkpoint import pack_rng, unpack_rng
from inn.runs.load import load
from inn.system.errors import InputError
from inn.system.files import sha256_of
from inn.training.objectives.base import Context, Loss, MicroBatch, Objective, StepResult
from inn.training.objectives.carried import beside, joined, without
from inn.training.objectives.modules import Lessons, number_of_blocks
from inn.training.objectives.options import DistilOptions

TEACHER = "teacher"


class Distil(Objective):
    """(1 - a) cross-entropy + a t² KL(teacher ‖ model), both of logits divided by t, with a the option `weight`.

    The teacher is a run's model, in evaluation mode and on the same device. It reads what the model reads; its state is
    carried beside the model's. Checkpoints have a fingerprint of its weights, and not the weights.

    With `by: module` blocks of rounds are taught one by one before the first step (`Lessons`), by the same loss, but
    for the divergence, which is divided by the number of logits there, as in *m2mKD*, arXiv 2402.16918.
    """

    Options = DistilOptions
    reads_forward = True

    def __init__(self, options: DistilOptions, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        if not options.teacher:
            raise InputError("objective 'distil' needs a model to learn from; set train.objective.teacher to a run")
        random = pack_rng()
        self.teacher = self._load(options.teacher)
        self.meta = self._load(options.meta) if options.meta else None
        unpack_rng(random)
        where = {"teacher": f"teacher '{options.teacher}'", "meta": f"meta '{options.meta}'"}
        self._check(self.teacher, where["teacher"])
        if options.by == "module":
            models = {"the model": self.model, where["teacher"]: self.teacher}
            self.blocks = number_of_blocks(models, options.modules)
            if self.meta is not None:
                self._check(self.meta, where["meta"])
                if number_of_blocks({where["meta"]: self.meta}, 0) != self.blocks:
                    raise InputError(
                        f"{where['meta']} has {self.meta.config.rounds} rounds, and needs one for each of "
                        f"{self.blocks} modules; set train.objective.modules, or give another run"
                    )
            if context.group.world > 1:
                raise InputError(
                    "objective 'distil' teaches modules in one process, and several train here; teach them in a run of "
                    "one process, and go on from it by inn train --from"
                )
        self.fingerprint = fingerprint(self.teacher)
        self._told: tuple[Tensor, Tensor, State] | None = None

    def _load(self, run: str) -> SequenceModel:
        return load(run).requires_grad_(False).to(device_of(self.model))

    def _check(self, teacher: SequenceModel, where: str) -> None:
        for model, whose in ((self.model, "the model"), (teacher, where)):
            if getattr(model.config, "told", "classes") != "classes":
                raise InputError(
                    f"objective 'distil' needs probabilities of symbols or classes, and {whose} tells "
                    f"'{model.config.told}'; train with objective predict"
                )
        own, other = (
            getattr(m.config, "vocab", None) or getattr(m.config, "outputs", 0) for m in (self.model, teacher)
        )
        if own != other or self.model.symbols != teacher.symbols:
            raise InputError(f"{where} tells apart {other} symbols or classes, and the model {own}; give another run")
        ours, theirs = (getattr(m.config, "features", 0) for m in (self.model, teacher))
        if ours != theirs:
            raise InputError(f"{where} reads signals of {theirs} features, and the model of {ours}; give another run")
        if None not in (self.model.vocabulary, teacher.vocabulary) and self.model.vocabulary != teacher.vocabulary:
            raise InputError(
                f"{where} has other symbols ({teacher.vocabulary}) than this data ({self.model.vocabulary}); "
                f"set data.tokenizer {self.options.teacher}, or give another run"
            )

    def before_run(self, batches: Iterator[Batch]) -> dict[str, float]:
        if self.options.by != "module":
            return {}
        a, t = self.options.weight, self.options.temperature

        def score(y: Tensor, told: Tensor, batch: Batch) -> Tensor:
            soft = divergence(y, told, batch.targets, t, batch.weights) / y.shape[-1]
            return (1 - a) * self.model.loss(y, batch.targets, batch.weights) + a * t**2 * soft

        o, random = self.options, pack_rng()
        torch.manual_seed(self.config.seed)
        lessons = Lessons(self.model, self.teacher, self.meta, self.blocks, o.lessons, self.config, score)
        told = lessons.teach(batches)
        self.meta = None  # it is needed no more
        unpack_rng(random)
        return {f"lessons.{name}": value for name, value in told.items()}

    def loss(self, batch: MicroBatch) -> Loss:
        told, after = self._read(batch)
        every, t = told_by_all(self.model), self.options.temperature
        y, state = self.forward(batch.inputs, without(batch.state, TEACHER), reset=batch.reset, **every, **batch.known)
        views = y.unbind(2) if every else (y,)
        hard = torch.stack([self.model.loss(one, batch.targets, batch.weights) for one in views]).mean()
        soft = torch.stack([divergence(one, told, batch.targets, t, batch.weights) for one in views]).mean()
        a = self.options.weight
        nats = (1 - a) * hard + a * t**2 * soft
        return Loss(nats, joined(state, TEACHER, after), metrics={"nats": hard, "divergence": soft})

    def _read(self, batch: MicroBatch) -> tuple[Tensor, State]:
        """What the teacher tells of these rows; once, where several passes read them (`nested+distil`)."""
        if self._told is None or self._told[0] is not batch.inputs:
            state, kind = beside(batch.state, TEACHER), batch.inputs.device.type
            bfloat16 = torch.autocast(kind, torch.bfloat16, enabled=self.config.dtype == "bfloat16")
            with torch.no_grad(), bfloat16:
                told, after = self.teacher(batch.inputs, state, reset=batch.reset)
            self._told = batch.inputs, told, after
        return self._told[1:]

    def after_step(self, step: int, result: StepResult) -> None:
        self._told = None

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self.fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["teacher"] != self.fingerprint:
            raise InputError(
                f"teacher '{self.options.teacher}' is not the model that this run has learned from (the sha256 of its "
                "weights differs); restore it, or start another run"
            )


def divergence(
    y: Tensor, told: Tensor, targets: Tensor, temperature: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """KL(told ‖ y) `[]` in nats of logits `[B, T, V]` divided by a temperature, summed over the targets that count.

    >>> divergence(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2).long())
    tensor(0.)
    """
    ignored = targets == IGNORED
    y, told = (t.masked_fill(ignored[..., None], 0.0).float() / temperature for t in (y, told))
    each = F.kl_div(y.log_softmax(-1), told.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    return (each if weights is None else each * weights[:, None].to(each.dtype)).sum()


def fingerprint(model: SequenceModel) -> str:
    """A sha256 of a model's weights."""
    return sha256_of(blocks_of(model.state_dict()))
