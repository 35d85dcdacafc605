"""What compression costs and saves: bits on held-out text, parameters by part, arithmetic, speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import Projection, is_linear, neuronal, weight_of
from inn.compress.decoder import NO_FRAME, Frame
from inn.compress.inputs import check_rows
from inn.compress.modules import NeuronalLinear
from inn.compress.topologies import Block
from inn.inference.evaluate import Score, predictions
from inn.models.inn import INN
from inn.models.sequence import SequenceModel


def score(
    model: nn.Module,
    tokens: Tensor,
    window: int = 512,
    report: Callable[[int, int], None] | None = None,
    frame: Frame = NO_FRAME,
) -> Score:
    """The cross-entropy of a text in disjoint windows, each from a fresh state; the first thing read is not scored.

    Args:
        model: a causal model of Hugging Face's, in evaluation mode.
        tokens: `[n]` int64; what fills no window is left out.
        window: symbols per window, `frame` among them.
        frame: what is read before and after each, and not scored.

    Its `parts` are the windows, for intervals and paired comparisons. Raises `InputError` as `check_rows` does.
    """
    rows = windows_of(tokens, window, frame)
    check_rows(model, rows)
    rows = rows.to(model.device)  # type: ignore[arg-type]

    def afresh(x: Tensor, state: None) -> tuple[Tensor, None]:
        return model(input_ids=x, use_cache=False).logits, None

    parts = []
    for i, (row, (logits, _)) in enumerate(zip(rows, predictions(afresh, rows.split(1)))):
        parts.append(nats(logits, row, frame))
        if report is not None:
            report(i + 1, len(rows))
    return together(parts)


def together(parts: Sequence[Score]) -> Score:
    """The score of windows that were scored one by one."""
    return Score(sum(part.nats_total for part in parts), sum(part.count for part in parts), tuple(parts))


def windows_of(tokens: Tensor, window: int, frame: Frame) -> Tensor:
    """A text in disjoint windows, `frame` around each: `[S, window]`; what fills no window is left out."""
    text = frame.room(window)
    return frame.around(tokens[: len(tokens) // text * text].view(-1, text))


def nats(logits: Tensor, row: Tensor, frame: Frame) -> Score:
    """The cross-entropy of a window `[T]` by a model's logits `[1, T, V]`; the first thing read is not scored."""
    first, last = max(1, len(frame.before)), len(row) - len(frame.after)
    total = nn.functional.cross_entropy(logits[0, first - 1 : last - 1].float(), row[first:last], reduction="sum")
    return Score(float(total.double()), last - first)


@dataclass(frozen=True)
class ModelSize:
    """Parameters by part, each counted once however often it is used, and multiplications.

    Attributes:
        projections: of the blocks that a plan named, biases left out.
        embeddings: of the symbols, in and out.
        rest: all others.
        flops: 2 x the multiplications of all linear layers for one symbol; attention itself is left out.
    """

    projections: int
    embeddings: int
    rest: int
    flops: float

    @property
    def total(self) -> int:
        return self.projections + self.embeddings + self.rest


def size(model: nn.Module, blocks: Mapping[Block, Projection], named: Iterable[Block]) -> ModelSize:
    """Count a model whose projections, dense or made of states, are at `blocks`; `named` are those of a plan."""
    wanted = {(p.path, p.first): p for p in (blocks[b] for b in named)}
    counted: dict[int, int] = {}
    for place, layer in neuronal(model):
        if (place.path, place.first) in wanted:
            counted |= {id(p): p.numel() for p in (layer.reads.weight, layer.write.weight)}
            del wanted[place.path, place.first]
    projections = sum(counted.values()) + sum(weight_of(model, p).numel() for p in wanted.values())
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]  # type: ignore[operator]
    embeddings = {id(end.weight): end.weight.numel() for end in ends if end is not None}
    total = sum(p.numel() for p in model.parameters())
    return ModelSize(
        projections, sum(embeddings.values()), total - projections - sum(embeddings.values()), _flops(model)
    )


def size_of_inn(model: INN, paths: Iterable[str]) -> ModelSize:
    """Count an INN; `projections` are the maps at `paths`, separate or communal, their biases left out."""
    inside = [f"{path}." for path in paths]
    projections = sum(
        p.numel()
        for name, p in model.named_parameters()
        if name.endswith("weight") and any(name.startswith(path) for path in inside)
    )
    ends = {id(p): p.numel() for p in (model.embedding.weight, *model.head.parameters()) if p.ndim > 1}
    embeddings = sum(ends.values())
    rest = model.num_parameters - projections - embeddings
    return ModelSize(projections, embeddings, rest, sum(model.flops().values()))


def _flops(model: nn.Module) -> float:
    """2 x the multiplications of all linear layers; what the projections of a layer read together is read once."""
    inside = {id(layer.write) for _, layer in neuronal(model)}
    total = 0.0
    for module in model.modules():
        if isinstance(module, NeuronalLinear):
            read = module.in_features * len(module.reads.weight) / module.readers
            total += 2 * (read + module.write.weight.numel())
        elif is_linear(module) and id(module) not in inside:
            total += 2 * module.weight.numel()  # type: ignore[union-attr]
    return total


def described(model: nn.Module, size: ModelSize, score: Score, bytes: int, prompt: Tensor | None) -> dict[str, Any]:
    """What there is to say of a model, as plain data; it writes after a prompt `[T]`, if there is one."""
    speed = {} if prompt is None else {"symbols_per_second": writing_speeds({"": model}, prompt[:64])[""]}
    return {
        "parameters": size.total,
        "projections": size.projections,
        "embeddings": size.embeddings,
        "without_embeddings": size.total - size.embeddings,
        "flops_per_symbol": size.flops,
        "megabytes": bytes / 1e6,
        "perplexity": score.perplexity,
        "bits": score.bits,
        **speed,
    }


_CARRIED = ("past_key_values", "cache_params", "state")
"""What models give and take of the text so far: transformers, Mamba, RWKV. One that has none reads the text again."""


def bytes_of(model: nn.Module) -> int:
    """The bytes of a model's parameters in memory."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


@torch.no_grad()
def writing_speeds(
    models: Mapping[str, nn.Module], prompt: Tensor, symbols: int = 16, rounds: int = 5
) -> dict[str, float]:
    """Symbols per second that each model writes greedily after a prompt `[T]`, batch 1: medians, interleaved.

    Models are of Hugging Face's, or INNs. Those with few places for symbols are given a shorter prompt.
    """
    places = [getattr(m.config, "max_position_embeddings", None) for m in models.values()]
    most = min((n for n in places if n), default=len(prompt) + symbols)
    symbols = min(symbols, most // 2)
    prompt = prompt[: most - symbols]
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            if isinstance(model, SequenceModel):
                seconds[name].append(_write_inn(model, prompt, symbols))
            else:
                seconds[name].append(_write(model, prompt, symbols))
    return {name: symbols / statistics.median(taken) for name, taken in seconds.items()}


@torch.no_grad()
def reading_speeds(models: Mapping[str, nn.Module], prompt: Tensor, rounds: int = 5) -> dict[str, float]:
    """Symbols per second at which each model of Hugging Face's reads a prompt `[T]` at once: medians, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            began = time.perf_counter()
            model(input_ids=prompt[None].to(model.device), use_cache=True, logits_to_keep=1)  # type: ignore[arg-type]
            seconds[name].append(time.perf_counter() - began)
    return {name: len(prompt) / statistics.median(taken) for name, taken in seconds.items()}


def _write(model: nn.Module, prompt: Tensor, symbols: int) -> float:
    """Seconds to write so many symbols after a prompt, the reading of which is not counted."""
    read = prompt[None].to(model.device)  # type: ignore[arg-type]
    out = model(input_ids=read, use_cache=True)
    began = time.perf_counter()
    for _ in range(symbols):
        drawn = out.logits[:, -1:].argmax(-1)
        carried = {name: out[name] for name in _CARRIED if out.get(name) is not None}
        read = drawn if carried else torch.cat((read[:, 1:], drawn), 1)
        out = model(input_ids=read, use_cache=True, **carried)
    return time.perf_counter() - began


def _write_inn(model: SequenceModel, prompt: Tensor, symbols: int) -> float:
    logits, state = model(prompt[None])
    logits = logits[:, -1]
    began = time.perf_counter()
    for _ in range(symbols):
        logits, state = model.step_(logits.argmax(-1), state, remember=False)
    return time.perf_counter() - began
