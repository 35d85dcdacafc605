"""What a loss is taken over: the same symbols for all who count them, however texts are cut into batches and padded."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inn.data.examples import IGNORED
from inn.models.inn import INN
from inn.nn.starting import no_decay
from inn.system.errors import InputError


def targets(labels: Tensor, mask: Tensor | None, reset: Tensor | None) -> Tensor:
    """Labels `[B, T]`, `IGNORED` where nothing precedes the symbol: it is the first of a text, or padding.

    `mask` and `reset` as in `inn.models.sequence.SequenceModel.forward`.

    >>> targets(torch.tensor([[9, 7, 8]]), torch.tensor([[False, True, True]]), None)
    tensor([[-100, -100,    8]])
    """
    return labels if (preceded := _preceded(mask, reset)) is None else labels.masked_fill(~preceded, IGNORED)


def _preceded(mask: Tensor | None, reset: Tensor | None) -> Tensor | None:
    preceded = None if mask is None else mask & (mask.cumsum(1) > 1)
    if reset is not None:
        preceded = ~reset if preceded is None else preceded & ~reset
    return preceded


def check_labels(labels: Tensor, tokens: Tensor) -> None:
    """Raise `InputError` for labels that are not whole numbers of the shape of the symbols, `[B, T]`."""
    if labels.shape != tokens.shape or labels.is_floating_point():
        raise InputError(
            f"labels must be the numbers of symbols, {list(tokens.shape)} as input_ids, not {labels.dtype} of "
            f"{list(labels.shape)}"
        )


def symbol_loss(
    logits: Tensor, labels: Tensor, mask: Tensor | None, reset: Tensor | None, options: Mapping[str, Any]
) -> tuple[Tensor, float | Tensor]:
    """Nats per symbol that is predicted, `targets` of them; and this batch's share of `num_items_in_batch`, 1 without.

    Args:
        logits: `[B, T, vocab]`, of all positions.
        labels: `[B, T]`, the input itself.
        options: `shift_labels` `[B, T]`, what each position is to predict, in place of `labels`; `num_items_in_batch`,
            how many symbols all batches of a step predict together, which divides the sum.

    Raises `InputError` where `num_items_in_batch` counts other symbols than `targets`, in batches not seen here.
    """
    items, counted = options.get("num_items_in_batch"), options.get("shift_labels")
    preceded = _preceded(mask, reset)
    if counted is None:
        counted = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
    kept = counted if preceded is None else counted.masked_fill(~F.pad(preceded[:, 1:], (0, 1), value=True), IGNORED)
    if kept.device.type == "cpu" and not torch.compiler.is_compiling():  # elsewhere looking would wait for the device
        wrong = kept[(kept != IGNORED) & ((kept < 0) | (kept >= logits.shape[-1]))]
        if len(wrong):
            raise InputError(
                f"the label {int(wrong[0])} is none of the {logits.shape[-1]} symbols; {IGNORED} is not counted"
            )
    nats = F.cross_entropy(logits.flatten(0, 1).float(), kept.flatten().long().to(logits.device), reduction="sum")
    own = (kept != IGNORED).sum()
    if items is None:
        return nats / own, 1.0
    if (mask is not None or reset is not None) and not torch.compiler.is_compiling():
        items = _agreed(items, int(own), int((counted != IGNORED).sum()))
    items = items.to(nats.device) if isinstance(items, Tensor) else items
    return nats / items, own / items


def _agreed(items: Any, own: int, counted: int) -> Any:
    """What a sum is divided by: `items` without the symbols that were counted here and that nothing precedes."""
    if own == counted or int(items) < counted:
        return items
    if int(items) == counted:
        return own
    raise InputError(
        f"num_items_in_batch is {int(items)}, of which {counted - own} here are not predicted: padding, and the first "
        "symbols of texts; give them the label -100 before counting (`model.targets`), or pad on the right"
    )


def class_loss(logits: Tensor, labels: Tensor, problem: str, items: Any) -> Tensor:
    """The loss of a classifier, `[B, classes]`: per text, or per number where there are several of a text.

    `problem` is one of transformers' `problem_type`; `items` divides the sum, as `num_items_in_batch`.
    """
    labels, classes = labels.to(logits.device), logits.shape[-1]
    single = problem == "single_label_classification"
    if labels.numel() != (len(logits) if single else logits.numel()) or len(labels) != len(logits):
        raise InputError(
            f"labels must be {[len(logits)] if single else list(logits.shape)} for {classes} classes ({problem}), not "
            f"{list(labels.shape)}"
        )
    if single:
        labels = labels.flatten().long()
        known = (labels == IGNORED) | ((labels >= 0) & (labels < classes))
        if labels.device.type == "cpu" and not bool(known.all()):
            raise InputError(f"labels must be classes from 0 to {classes - 1}, not {labels[~known].tolist()}")
        count = (labels != IGNORED).sum()
        total = F.cross_entropy(logits.float(), labels, reduction="sum")
    else:
        count = labels.numel()
        loss = F.mse_loss if problem == "regression" else F.binary_cross_entropy_with_logits
        total = loss(logits.float(), labels.view_as(logits).float(), reduction="sum")
    return total / (count if items is None else items)


def teach_trainer() -> None:
    """Have `Trainer` count what the `targets` of our models say, and decay what may decay.

    It counts the labels of all batches of a step before the model sees one of them, so a model by itself cannot set it
    right; and with label smoothing it takes the loss itself, of the labels that it has. What decays it tells by names
    (`bias`, `norm`) that gains, time constants and identities do not have; their modules know (`no_decay`).
    """
    trainer = getattr(sys.modules.get("transformers.trainer"), "Trainer", None)
    count = getattr(trainer, "_get_num_items_in_batch", None)
    if trainer is None or count is None or getattr(count, "of_inn", False):
        return

    @wraps(count)
    def counted(self: Any, batches: list[Any], device: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        if isinstance(getattr(model, "inn", None), INN) and hasattr(model, "targets"):
            for batch in batches:
                if batch.get("labels") is not None and batch.get("input_ids") is not None:
                    batch["labels"] = model.targets(**batch)  # type: ignore[attr-defined]
        return count(self, batches, device)

    counted.of_inn = True  # type: ignore[attr-defined]
    trainer._get_num_items_in_batch = counted
    decaying = trainer.get_decay_parameter_names

    @wraps(decaying)
    def known(self: Any, model: nn.Module) -> list[str]:
        ours = any(isinstance(m, INN) for m in model.modules())
        exempt = no_decay(model) if ours else set()
        return [name for name in decaying(self, model) if name not in exempt]

    trainer.get_decay_parameter_names = known
