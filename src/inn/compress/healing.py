"""Healing: what compressing has left of a model learns from the dense one for some minutes.

Nothing is labelled: the dense model says what the small one should have given. A `Recipe` goes through stages, each of
which compares something else: the compressed projections one by one, whole layers, or what the model expects of the
next symbol. Whatever a plan has made is trained the same way, since all that a layer has is: shared and private states,
weights that stayed dense, and layers of fewer neurons.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import layers_of, neuronal, refuse_adapters
from inn.compress.decoder import NO_FRAME, Frame
from inn.compress.healing_losses import Matches
from inn.compress.healing_recipes import RECIPES, Stage
from inn.compress.healing_state import HealState, mark
from inn.compress.inputs import check_rows
from inn.nn.modes import learns
from inn.system.errors import InputError, lookup

HELD_OUT = 4
"""Rows of the text that states are judged by and not trained on; a tenth of it where it is short."""
LOOKS = 4
"""How often states are judged."""
_WARM = 0.1
_TRIED = (1.0, 1 / 3, 1 / 9)
"""Of a stage's rate. How fast is best depends on how much was lost: SmolLM2-135M with all projections at 80 % gains
nothing at a rate at which it recovers when it has lost twice as much."""
_TRIAL = 8
"""Steps that each of them is tried for; a twentieth of the stage where it is short, and nothing is tried of few."""
_KEPT_EVERY = 120.0
"""Seconds between two states on the disk."""
_BETAS = (0.9, 0.95)
_SLACK = 1.05
"""By so much a step may be slower than it was measured to be, and the last still be taken in time."""


@dataclass(frozen=True)
class Healed:
    """What healing has done.

    Attributes:
        steps: how many were taken, of one row each.
        kept: the step whose state was kept; 0 where nothing was gained, and the model is as it was.
        before, after: how far it is from the dense model on rows that were held out, as it was and as it is: the mean
            of KL(dense || compressed) over symbols, in nats.
        seconds: that it took, all attempts together.
        losses: the mean loss of every tenth of the steps.
        scales: of every stage that was begun, the part of its rate that was taken.
    """

    steps: int
    kept: int
    before: float
    after: float
    seconds: float
    losses: list[float] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        took = f"healed for {self.seconds / 60:.1f} minutes, {self.steps:,} steps"
        if not self.kept:
            return f"{took}: nothing was gained on rows that were held out, and the model is as it was"
        bits = [nats / math.log(2) for nats in (self.before, self.after)]
        return f"{took}: from {bits[0]:.3f} to {bits[1]:.3f} bits off the dense model on rows that were held out"


@learns
def heal(
    model: nn.Module,
    dense: nn.Module,
    text: Tensor,
    minutes: float | None = None,
    *,
    steps: int | None = None,
    recipe: str | tuple[Stage, ...] = "distil",
    length: int = 512,
    seed: int = 0,
    frame: Frame = NO_FRAME,
    state: Path | None = None,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Healed:
    """Train a compressed model on what the dense one makes of a text, in place; the best state is kept.

    Steps are of one row, rows in an order of their own for every pass through the text. Adam in float32, whatever the
    models' type. Rows spread over the text are held out: four times on the way it is measured how far the model is from
    the dense one on them, and the best state is what it ends with, the one that it began with among them. In memory are
    the model, its gradients, two means of them, the best state, and the dense model.

    Args:
        model: the compressed model.
        dense: the model that it was made of.
        text: `[n]` int64, symbols of the kind the model is for. It forgets what is not in it.
        minutes: for so long. How many steps that is, is found on the first two; it ends when they are over, too.
        steps: so many, in place of minutes: the same result however fast the machine is.
        recipe: one of `RECIPES`, or stages.
        length: symbols of a row.
        seed: of the order of the rows.
        frame: what is in every row beside the text.
        state: a file. What has been done is kept there now and then, and gone on from, bit for bit, when it is there
            with the same model, text and options; it is deleted at the end.
        report: called with the steps done, and how many there are.

    Raises `InputError` for a text of fewer than two rows, neither or both of minutes and steps, a recipe on states for
    a model without any, adapters, and a `state` of another healing.

    Example: ``heal(small, dense, text, minutes=10, state=Path("smaller.healing"))``
    """
    stages = lookup("recipe", recipe, RECIPES) if isinstance(recipe, str) else recipe
    if (minutes is None) == (steps is None):
        raise InputError("healing takes minutes or steps; give one of them")
    if (minutes or steps or 0) <= 0:
        raise InputError(
            f"healing takes more than 0 {'steps' if minutes is None else 'minutes'}, not {minutes or steps}"
        )
    refuse_adapters(model)
    rows, held_out = _rows(text, length, frame)
    check_rows(model, held_out)
    trained = _trained(model, stages)
    dtype = next(model.parameters()).dtype
    flags = {p: p.requires_grad for p in (*model.parameters(), *dense.parameters())}
    modes = {module: module.training for both in (model, dense) for module in both.modules()}
    try:
        model.float().eval()
        dense.eval()
        for p in flags:
            p.requires_grad_(False)
        for p in trained:
            p.requires_grad_(True)
        its = mark(trained, text, (*map(astuple, stages), _TRIED), minutes, steps, length, seed)
        work = _Healing(model, dense, trained, rows, held_out, stages, seed)
        return work.run(minutes, steps, HealState(state, its), report)
    finally:
        model.to(dtype)
        for p, flag in flags.items():
            p.requires_grad_(flag)
            p.grad = None
        for module, training in modes.items():
            module.training = training


class _Healing:
    """A healing under way."""

    def __init__(
        self,
        model: nn.Module,
        dense: nn.Module,
        trained: list[nn.Parameter],
        rows: Tensor,
        held_out: Tensor,
        stages: tuple[Stage, ...],
        seed: int,
    ):
        self.model, self.trained, self.stages = model, trained, stages
        self.matches = Matches(model, dense)
        self.width = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator, union-attr, index]
        self.rows, self.held_out, self.seed = rows, held_out, seed
        self.optimizer = self._adam()
        self.scales: list[float] = []
        """What the rates of the stages that were begun are multiplied by."""

    def run(
        self, minutes: float | None, steps: int | None, state: HealState, report: Callable[[int, int], None]
    ) -> Healed:
        began = time.monotonic()
        found = state.read()
        if found is None:
            first = self._score()
            taken = time.monotonic() - began
            many = self._planned(minutes, steps, taken)
            found = {"done": 0, "seconds": 0.0, "many": many, "first": first, "best": first, "kept": 0}
            found |= {"losses": [], "scales": []}
            best = [p.detach().clone() for p in self.trained]
        else:
            best = found.pop("best_parameters")
            self._load(found)
        before, many, losses = found["seconds"], found["many"], found["losses"]
        self.scales = found["scales"]
        total, done, saved = sum(many), found["done"], time.monotonic()
        looks = {round(total * (i + 1) / LOOKS) for i in range(LOOKS)}

        def seconds() -> float:
            return before + time.monotonic() - began

        over = False
        while done < total and not over:
            losses.append(self._step(done, many))
            done += 1
            over = minutes is not None and seconds() > 60 * minutes
            if done in looks or over:
                now = self._score()
                if now < found["best"]:
                    found |= {"best": now, "kept": done}
                    best = [p.detach().clone() for p in self.trained]
            if state.path and (done in looks or time.monotonic() - saved > _KEPT_EVERY):
                found |= {"done": done, "seconds": seconds(), "losses": losses}
                state.write({**found, "best_parameters": best, **self._kept()})
                saved = time.monotonic()
            report(done, total)
        with torch.no_grad():
            for p, value in zip(self.trained, best, strict=True):
                p.copy_(value)
        state.remove()
        tenth = -(-len(losses) // 10)
        means = [sum(part) / len(part) for part in (losses[i : i + tenth] for i in range(0, len(losses), tenth))]
        return Healed(done, found["kept"], found["first"], found["best"], seconds(), means, self.scales)

    def _planned(self, minutes: float | None, steps: int | None, scoring: float) -> list[int]:
        """How many steps every stage has."""
        if steps is not None:
            ends = [round(steps * sum(s.share for s in self.stages[: i + 1])) for i in range(len(self.stages))]
            return [end - start for start, end in zip([0, *ends], ends)]
        assert minutes is not None
        left, many = 60 * minutes - scoring * (LOOKS + 1), []
        for stage in self.stages:
            for _ in range(2):  # the second is as fast as all that follow
                began = time.monotonic()
                self._gradient(stage, self.rows[:1])
            taken = time.monotonic() - began
            tried = 0 if stage.steady else len(_TRIED)
            left -= 2 * taken + tried * (_TRIAL * taken + scoring)
            many.append(max(1, int(stage.share * left / (taken * _SLACK))))
        return many

    def _tried(self, stage: Stage, number: int) -> float:
        """The part of a stage's rate that brings the model closest to the dense one in a few steps; they are undone."""
        steps = 0 if stage.steady else min(_TRIAL, number // 20)
        if not steps:
            return 1.0
        start = [p.detach().clone() for p in self.trained]
        reached = {}
        for scale in _TRIED:
            self.optimizer = self._adam()
            for i in range(steps):
                for group in self.optimizer.param_groups:
                    group["lr"] = scale * stage.rate / self.width * (i + 1) / steps
                self._gradient(stage, self.rows[i % len(self.rows)][None])
                self.optimizer.step()
            reached[scale] = self._score()
            with torch.no_grad():
                for p, value in zip(self.trained, start, strict=True):
                    p.copy_(value)
        self.optimizer = self._adam()
        return min(reached, key=reached.__getitem__)

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.trained, betas=_BETAS, fused=self.trained[0].device.type in ("cpu", "cuda"))

    def _step(self, done: int, many: list[int]) -> float:
        """One step, the `done`-th; its loss."""
        ends = list(accumulate(many))
        now = next(i for i, end in enumerate(ends) if done < end)
        stage, number, at = self.stages[now], many[now], done - ends[now] + many[now]
        if now == len(self.scales):
            self.scales.append(self._tried(stage, number))
        rate = stage.rate
        if not stage.steady:
            rate *= self.scales[now] / self.width
            rate *= min(1.0, (at + 1) / max(1.0, _WARM * number)) * (1 - at / number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        epoch, place = divmod(done, len(self.rows))
        if stage.match == "blocks" and place == 0:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                self.matches.weights()
            self.optimizer.step()
        order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(self.seed + epoch))
        row = self.rows[order[place]][None]
        loss = self._gradient(stage, row)
        self.optimizer.step()
        return loss

    def _gradient(self, stage: Stage, row: Tensor) -> float:
        """The loss of a row `[1, T]`; its gradient is in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            return self.matches.by_name[stage.match](row.to(self.trained[0].device))

    @torch.no_grad()
    def _score(self) -> float:
        """How far the model is from the dense one on the rows that are held out, in nats per symbol."""
        found = [self.matches.divergence(row[None].to(self.trained[0].device)).item() for row in self.held_out]
        return sum(found) / len(found)

    def _kept(self) -> dict[str, Any]:
        return {"parameters": [p.detach() for p in self.trained], "optimizer": self.optimizer.state_dict()}

    def _load(self, found: dict[str, Any]) -> None:
        with torch.no_grad():
            for p, value in zip(self.trained, found.pop("parameters"), strict=True):
                p.copy_(value)
        self.optimizer.load_state_dict(found.pop("optimizer"))


def _rows(text: Tensor, length: int, frame: Frame) -> tuple[Tensor, Tensor]:
    """The rows to train on, and the ones held out, `[S, length]` each."""
    room = frame.room(length)
    whole = text[: len(text) // room * room].view(-1, room)
    if len(whole) < 2:
        raise InputError(
            f"the text to heal on has {len(text):,} symbols and two rows take {2 * room:,}; give a longer one, or "
            "shorter rows"
        )
    number = max(1, min(HELD_OUT, len(whole) // 10))
    # From the middle of equal parts: a text of several kinds is judged on all of them.
    judged = ((torch.arange(number) + 0.5) * len(whole) / number).long()
    kept = torch.ones(len(whole), dtype=torch.bool)
    kept[judged] = False
    return frame.around(whole[kept]), frame.around(whole[judged])


def _trained(model: nn.Module, stages: Iterable[Stage]) -> list[nn.Parameter]:
    """What is trained: all that the layers have; by a recipe on blocks alone the states and their biases."""
    if all(stage.match == "blocks" for stage in stages):
        found = [p for _, layer in neuronal(model) for p in (layer.reads.weight, *layer.write.parameters())]
        if not found:
            raise InputError("this model holds no neuronal groups, which recipe 'ngc' trains; take another recipe")
    else:
        found = list(layers_of(model)[1].parameters())
    return list(dict.fromkeys(found))
