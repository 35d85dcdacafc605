"""A memory, a task and objectives of the tests' own; also imported by the processes of `parallel/worker.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.config.parts import Options as PartOptions
from inn.data.examples import IGNORED, Examples
from inn.data.tasks.base import Task
from inn.nn.memory.base import Memory
from inn.registry import register
from inn.training.objectives.base import Loss, MicroBatch, Objective, StepResult


@register("memory", "toy-leaky")
class Leaky(Memory):
    """A running mean of what a neuron reads, and a penalty on its activity."""

    no_decay = ("keep",)

    def __init__(self, config):
        super().__init__(config)
        self.neurons, self.width = config.neurons, config.width
        self.keep = nn.Parameter(torch.zeros(config.neurons, config.width))

    def initial_state(self, batch: int):
        # Not `keep.new_zeros`: what is made of a parameter is shared by processes where the parameter is.
        return {"mean": torch.zeros(batch, self.neurons, self.width, device=self.keep.device)}

    def forward(self, x: Tensor, state, *, reset=None, mask=None):
        mean, keep, read = state["mean"], self.keep.sigmoid(), []
        for t in range(x.shape[1]):
            if reset is not None:
                mean = torch.where(reset[:, t, None, None], 0.0, mean)
            new = keep * mean + (1 - keep) * x[:, t].float()
            mean = new if mask is None else torch.where(mask[:, t, None, None], new, mean)
            read.append(mean)
        y = torch.stack(read, dim=1)
        return y.to(x.dtype), {"mean": mean}, {"rate": y.square().mean()}

    def flops(self):
        return {"memory": 4.0 * self.neurons * self.width}


def nats_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats per target `[B, T]`, 0 where there is none."""
    nats = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return nats.view_as(targets)


@register("objective", "toy-weighted")
class Weighted(Objective):
    """Weighs symbols by how much harder they are than those so far, shrinks the bias of the head now and then."""

    @dataclass
    class Options(PartOptions):
        rate: float = 0.5
        """How much harder symbols weigh more."""

    calls: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, options, context, config):
        super().__init__(options, context, config)
        self.mean = torch.ones((), device=next(self.model.parameters()).device)
        self.steps = 0

    def before_step(self, step: int) -> None:
        self.calls.append(("before", step))
        self.noise = 1 + 0.1 * torch.rand((), generator=self.generator(step)).item()

    def loss(self, batch: MicroBatch) -> Loss:
        self.calls.append(("loss", len(batch.inputs)))
        logits, state = self.forward(batch.inputs, batch.state, reset=batch.reset)
        nats = nats_of(logits, batch.targets)
        weights = 1 + self.options.rate * torch.tanh(nats.detach() - self.mean) * self.noise
        hits = (logits.argmax(-1) == batch.targets).sum()
        biases = [p for name, p in self.model.named_parameters() if name.endswith("bias")]
        size = torch.stack([whole(p.square().mean()) for p in biases]).sum()
        return Loss((weights * nats).sum(), state, {"size": 0.1 * size}, {"hits": hits, "nats": nats.sum()})

    def after_step(self, step: int, result: StepResult) -> None:
        self.calls.append(("after", step))
        self.mean = 0.9 * self.mean + 0.1 * result.metrics["nats"]
        self.steps += 1
        if self.steps % 4 == 0:
            with torch.no_grad():
                self.model.head.bias.mul_(0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean, self.steps = state["mean"], state["steps"]


@register("objective", "toy-twice")
class Twice(Objective):
    """Reads every window twice, the second time from a fresh state."""

    def loss(self, batch: MicroBatch) -> Loss:
        logits, state = self.forward(batch.inputs, batch.state, reset=batch.reset)
        fresh, _ = self.forward(batch.inputs)
        return Loss(0.5 * (nats_of(logits, batch.targets).sum() + nats_of(fresh, batch.targets).sum()), state)


@register("objective", "toy-broken")
class Broken(Objective):
    """Gives something that is no number in step 5."""

    @dataclass
    class Options(PartOptions):
        what: str = "loss"
        """The loss, a penalty or a metric."""

    def before_step(self, step: int) -> None:
        self.at = step

    def loss(self, batch: MicroBatch) -> Loss:
        logits, state = self.forward(batch.inputs, batch.state, reset=batch.reset)
        nats, bad = nats_of(logits, batch.targets).sum(), torch.tensor(float("nan") if self.at == 5 else 0.0)
        what = self.options.what
        return Loss(
            nats + bad if what == "loss" else nats,
            state,
            {"mine": bad} if what == "penalty" else {},
            {"mine": bad} if what == "metric" else {},
        )


def whole(t: Any) -> Tensor:
    """A number that processes share as one that each has."""
    return t.full_tensor() if hasattr(t, "full_tensor") else t


@dataclass
class WaveOptions(PartOptions):
    """Waves of three speeds, of unequal lengths."""

    told: str = "classes"
    """classes, values or next."""
    weighted: bool = True
    """Whether sequences count differently."""


@register("task", "toy-wave")
class Wave(Task):
    """A fixed set of signals with missing values: which wave it is, its speed, or its next step."""

    Options = WaveOptions
    signal = True
    channels: ClassVar[list[str]] = ["wave", "noise"]

    @property
    def classes(self) -> list[str]:
        return ["slow", "middle", "fast"] if self.options.told == "classes" else []

    @property
    def values(self) -> list[str]:
        return ["speed"] if self.options.told == "values" else []

    def part(self, name: str) -> Examples:
        rng = np.random.default_rng(len(name))
        label, lengths, t = rng.integers(0, 3, 40), rng.integers(5, 13, 40), np.arange(12)
        x = np.stack([np.sin(t * (0.4 + 0.4 * label[:, None])), rng.normal(size=(40, 12))], -1).astype(np.float32)
        x[rng.random(x.shape) < 0.1] = np.nan
        last = np.arange(40), lengths - 1
        if self.options.told == "classes":
            targets = np.full((40, 12), IGNORED, np.int64)
            targets[last] = label
        elif self.options.told == "values":
            targets = np.full((40, 12, 1), np.nan, np.float32)
            targets[last] = label[:, None]
        else:
            targets = np.full_like(x, np.nan)
            targets[:, :-1] = x[:, 1:]
            targets[last] = np.nan
        found = Examples.cut(x, targets, lengths)
        weights = np.linspace(0.0, 2.0, 40, dtype=np.float32) if self.options.weighted and name == "train" else None
        return Examples(found.inputs, found.targets, found.starts, weights)
