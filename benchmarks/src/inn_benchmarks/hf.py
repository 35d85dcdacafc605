"""An INN inside transformers: what its `generate` costs, and whether padding changes what is predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inn.config.assemble import model_config
from inn.data.vocabulary import build_vocabulary
from inn.models.build import build_model
from inn.system.errors import InputError
from inn_benchmarks.measure import NORMAL, Effort, in_turns, spread
from inn_benchmarks.rows import Measured, Skipped


@dataclass(frozen=True)
class WriteSize:
    """Symbols written by one call, and fields of the model."""

    symbols: int = 200
    model: dict[str, Any] = field(default_factory=dict)


def generate(size: WriteSize = WriteSize(), effort: Effort = NORMAL) -> Measured:
    """Greedy writing, batch 1: `inn generate`, and `generate` of transformers around the same model, in turns.

    The loop of transformers, with a cache that counts and logits that are always the same, is timed beside them and
    taken off: what is left is the model's.
    """
    inn_hf = _library()
    torch.manual_seed(0)
    ours = build_model(model_config("inn", vocab=256, **size.model)).eval()
    ours.vocabulary = build_vocabulary("bytes")
    theirs = inn_hf.INNForCausalLM.wrap(ours)  # type: ignore[arg-type]
    first = torch.tensor([[10]])

    class Constant(inn_hf.INNForCausalLM):
        """Says the same of every symbol, and reads none."""

        def forward(self, input_ids: Tensor | None = None, attention_mask=None, past_key_values=None, labels=None,
                    use_cache=None, logits_to_keep=0, return_dict=None, written_from=None, **options: Any):  # fmt: skip
            past_key_values.length += input_ids.shape[1]  # type: ignore[union-attr]
            return Output(logits=said, past_key_values=past_key_values)

    from transformers.modeling_outputs import CausalLMOutputWithPast as Output

    said, constant = torch.zeros(1, 1, 256), Constant(theirs.config, theirs.inn)

    def write() -> None:
        for _ in ours.generate("\n", size.symbols, top_k=1):
            pass

    def run(model: Any) -> None:
        text = model.generate(
            first, attention_mask=torch.ones_like(first), max_new_tokens=size.symbols, do_sample=False
        )
        assert text.shape[1] == size.symbols + 1, "transformers stopped early"

    times = in_turns({"inn": write, "generate": lambda: run(theirs), "loop": lambda: run(constant)}, effort)
    medians = {name: t.median / size.symbols for name, t in times.items()}
    inside = medians["generate"] - medians["loop"]
    c = ours.config
    return Measured(
        medians["inn"] / inside,
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {ours.num_parameters:,} parameters, B 1, "
        f"{size.symbols} symbols",
        {"seconds": spread(times), "seconds_per_symbol": {**medians, "model inside generate": inside}},
    )


@dataclass(frozen=True)
class PadSize:
    """Lengths of the prompts, and fields of the model."""

    lengths: tuple[int, ...] = (1, 2, 3, 7, 64, 100, 255, 256)
    model: dict[str, Any] = field(default_factory=dict)


def left_pad(size: PadSize = PadSize()) -> Measured:
    """The greatest difference of a logit, float32: a batch padded on the left, and each of its prompts alone.

    The weights are drawn anew with a spread of 0.3 of their own, so that messages, norms and logits are lively.
    """
    inn_hf = _library()
    torch.manual_seed(0)
    ours = build_model(model_config("inn", vocab=256, **size.model)).eval()
    with torch.no_grad():
        for p in ours.parameters():
            p.add_(torch.randn_like(p) * p.std().nan_to_num(0.0) * 0.3)
    model, longest = inn_hf.INNForCausalLM.wrap(ours), max(size.lengths)  # type: ignore[arg-type]
    prompts = [torch.randint(256, (n,)) for n in size.lengths]
    rows = torch.randint(256, (len(prompts), longest))  # what stands in the padding is to make no difference
    mask = torch.zeros_like(rows)
    for row, seen, prompt in zip(rows, mask, prompts, strict=True):
        row[longest - len(prompt) :], seen[longest - len(prompt) :] = prompt, 1
    with torch.no_grad():
        padded = model(rows, attention_mask=mask).logits
        alone = [model(p[None]).logits[0] for p in prompts]
    found = [float((a[longest - len(b) :] - b).abs().max()) for a, b in zip(padded, alone, strict=True)]
    c = ours.config
    return Measured(
        max(found),
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {ours.num_parameters:,} parameters, "
        f"{len(prompts)} prompts of {min(size.lengths)} to {longest} symbols",
        {"by_length": dict(zip(map(str, size.lengths), found)), "largest_logit": float(padded.abs().max())},
    )


def _library() -> Any:
    try:
        import inn.hf
    except InputError as error:
        raise Skipped(str(error)) from error
    return inn.hf
