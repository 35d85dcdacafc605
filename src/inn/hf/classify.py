"""An INN that sorts texts into classes, or puts a number on them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from inn.hf.base import INNPreTrainedModel
from inn.hf.config import INNHFConfig
from inn.hf.losses import class_loss
from inn.models.inn import INN


class INNForSequenceClassification(INNPreTrainedModel):
    """A classifier of texts: symbols `[B, T]` -> logits `[B, num_labels]`, of what the model makes of the last symbol.

    >>> import torch
    >>> config = INNHFConfig(inn={"vocab": 27, "neurons": 2, "width": 8, "rounds": 1}, num_labels=3)
    >>> INNForSequenceClassification(config)(torch.zeros(2, 5, dtype=torch.long)).logits.shape
    torch.Size([2, 3])
    """

    def __init__(self, config: INNHFConfig, inn: INN | None = None):
        super().__init__(config, inn)
        self.score = nn.Linear(config.hidden_size, config.num_labels or 2, bias=False)
        self._init_weights(self.score)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> SequenceClassifierOutputWithPast | tuple:
        """Classify texts, padded on either side; see `INNForCausalLM.forward`.

        `labels`: `[B]` classes, `[B, num_labels]` of 0 and 1 for several at once, or `[B]` or `[B, num_labels]`
        numbers; which of them `config.problem_type` says, else their type and `num_labels`.
        """
        given = self._given(input_ids, attention_mask, past_key_values, use_cache, options)
        tokens, mask, reset, cache, rounds = given
        read = self._read(tokens, mask, reset, cache, rounds=rounds)
        logits, loss = self.score(read.hidden[:, -1]), None  # padding on the right says what the last symbol does
        if labels is not None:
            c = self.config
            if c.problem_type is None:
                whole = not labels.is_floating_point()
                single = "single_label_classification" if whole else "multi_label_classification"
                c.problem_type = "regression" if c.num_labels == 1 else single
            items = options.get("num_items_in_batch")
            loss = class_loss(logits, labels, c.problem_type, items)
            share = 1.0 if items is None else labels.numel() / items
            loss = loss + sum(read.penalties.values()) * share
        out = SequenceClassifierOutputWithPast(loss, logits, cache, read.rounds)  # type: ignore[arg-type]
        return self._returned(out, return_dict)
