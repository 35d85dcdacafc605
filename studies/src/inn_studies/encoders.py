"""What the study of encoders measures: small ones of pictures and of texts are trained, compressed, and scored."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

TEST = 360
"""Pictures of scikit-learn's digits that are kept for scoring, of 1,797."""
MASK, UNKNOWN = 0, 1
HIDDEN = 0.15
"""Share of the characters that are hidden in training."""


def encoders(
    kind: str,
    seed: int,
    steps: int,
    plans: Mapping[str, Mapping[str, Any]],
    keeps: list[float],
    corpus: str,
    scored: int,
) -> dict[str, Any]:
    """Train an encoder, compress copies of it by several plans, and score them.

    Args:
        kind: `pictures`, a ViT on scikit-learn's digits, or `text`, a ModernBERT on hidden characters of a text.
        seed: of the weights, the batches and the split.
        steps: of training, 64 pictures or 32 rows of 64 characters each.
        plans: fields of `inn.compress.CompressionPlan`, by name.
        keeps: shares of the projections' parameters to keep.
        corpus: of `text`: its training part, and its test part to score.
        scored: rows of the test part that are scored, each character of them hidden in its turn.

    Returns the score of the dense model, those of each plan and share, parameters, seconds, and the score's name: of
    `pictures` the accuracy, of `text` the pseudo-perplexity (Salazar et al. 2020).
    """
    import torch

    from inn.compress import CompressionPlan, compress
    from inn.compress.run import coverage

    torch.manual_seed(seed)
    made = _pictures(seed) if kind == "pictures" else _text(corpus, scored)
    model, batch, rows, score, name = made
    began = time.perf_counter()
    _train(model, batch, steps, seed)
    trained = time.perf_counter() - began
    found: list[dict[str, Any]] = []
    for keep in keeps:
        for plan, fields in plans.items():
            small, began = copy.deepcopy(model), time.perf_counter()
            outcome = compress(small, rows, CompressionPlan(**fields), keep)
            seconds = time.perf_counter() - began
            shared = sum(len(group) > 1 for group, _ in outcome.groups)
            found.append(
                {"plan": plan, "keep": keep, "score": score(small), "parameters": _size(small), "seconds": seconds}
                | {"groups": len(outcome.groups), "shared": shared}
            )
    covered = coverage(model, rows, "svd-llm", 0.5)
    return {
        "name": name,
        "dense": score(model),
        "parameters": _size(model),
        "covered": covered.covered / covered.model,
        "training_seconds": trained,
        "found": found,
    }


Made = tuple["nn.Module", "Callable[[Any], dict[str, Tensor]]", Any, "Callable[[nn.Module], float]", str]
"""A model, what draws a batch with its labels, rows to calibrate on, what scores a model, and the score's name."""


def _pictures(seed: int) -> Made:
    import torch
    from sklearn.datasets import load_digits
    from transformers import ViTConfig, ViTForImageClassification

    flat, told = load_digits(return_X_y=True)
    pictures = torch.tensor(flat, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    labels = torch.tensor(told)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    test, train = order[:TEST], order[TEST:]
    config = ViTConfig(
        image_size=8, patch_size=2, num_channels=1, hidden_size=64, num_hidden_layers=4,
        num_attention_heads=4, intermediate_size=256, hidden_dropout_prob=0.0,
    )  # fmt: skip
    config.num_labels = 10

    def batch(drawing: Any) -> dict[str, Any]:
        at = train[torch.randint(len(train), (64,), generator=drawing)]
        return {"pixel_values": pictures[at], "labels": labels[at]}

    @torch.no_grad()
    def score(model: Any) -> float:
        return float((model(pixel_values=pictures[test]).logits.argmax(-1) == labels[test]).double().mean())

    return ViTForImageClassification(config), batch, {"pixel_values": pictures[train[:256]]}, score, "accuracy"


def _text(corpus: str, scored: int, length: int = 64, most: int = 40) -> Made:
    import torch
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    from inn.data.corpora import corpus_text

    text = corpus_text(corpus)
    train, test = (text.read(part).decode("utf-8", "replace").lower() for part in ("train", "test"))
    known = {character: i + 2 for i, (character, _) in enumerate(Counter(train).most_common(most))}
    rows, held = (
        torch.tensor([known.get(c, UNKNOWN) for c in part[: len(part) // length * length]]).view(-1, length)
        for part in (train, test)
    )
    held = held[torch.linspace(0, len(held) - 1, min(scored, len(held))).round().long()]
    # Rotary positions: with learned ones BERT itself tells for thousands of steps how often characters are, no more.
    config = ModernBertConfig(
        vocab_size=most + 2, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=length, layer_types=["full_attention"] * 4, initializer_range=0.06,
        pad_token_id=MASK, bos_token_id=MASK, eos_token_id=MASK, cls_token_id=MASK, sep_token_id=MASK,
    )  # fmt: skip

    def batch(drawing: Any) -> dict[str, Any]:
        characters = rows[torch.randint(len(rows), (32,), generator=drawing)]
        hidden = torch.rand(characters.shape, generator=drawing) < HIDDEN
        return {"input_ids": characters.masked_fill(hidden, MASK), "labels": characters.masked_fill(~hidden, -100)}

    @torch.no_grad()
    def score(model: Any) -> float:
        nats, hidden = 0.0, torch.eye(length, dtype=torch.bool)
        for row in held:
            logits = model(input_ids=row.expand(length, -1).masked_fill(hidden, MASK)).logits
            nats += float(torch.nn.functional.cross_entropy(logits[hidden].double(), row, reduction="sum"))
        return math.exp(nats / held.numel())

    calibrated = rows[torch.linspace(0, len(rows) - 1, 256).round().long()]
    drawn = torch.rand(calibrated.shape, generator=torch.Generator().manual_seed(0)) < HIDDEN
    return ModernBertForMaskedLM(config), batch, calibrated.masked_fill(drawn, MASK), score, "pseudo-perplexity"


def _train(model: Any, batch: Callable[[Any], dict[str, Any]], steps: int, seed: int) -> None:
    import torch

    drawing = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch(drawing)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
