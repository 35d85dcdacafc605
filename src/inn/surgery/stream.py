"""A stream of things to learn, one after another, and what became of it: scores of all after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.config.run import DataConfig, task_of
from inn.data.dataset import Dataset
from inn.data.examples import Examples
from inn.data.names import sizes_of
from inn.data.prepare import encode_corpus, prepare
from inn.data.streams import Streams
from inn.data.task_data import TaskData
from inn.inference.evaluate import evaluate
from inn.inference.examples import evaluate_examples
from inn.system.errors import InputError

Symbols = np.ndarray


@dataclass(frozen=True)
class Domain:
    """One of a stream: a text in the model's symbols, or examples.

    Attributes:
        name: what tables call it.
        train: `[n]` symbols, or `Examples`, to learn from.
        test: the same, to be scored by.
    """

    name: str
    train: Symbols | Examples
    test: Symbols | Examples

    @property
    def text(self) -> bool:
        return not isinstance(self.train, Examples)

    def batches(self, data: DataConfig, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
        """What training reads, without an end: inputs, targets, rows that start anew, and what rows count."""
        if isinstance(self.train, Examples):
            number = 0
            while True:
                order = np.random.default_rng([seed, number]).permutation(len(self.train))
                number += 1
                for at in range(0, len(order), data.batch):
                    part = self.train.take(order[at : at + data.batch])
                    inputs, targets, _ = part.padded()
                    weights = None if part.weights is None else torch.from_numpy(part.weights)
                    if part.counted:
                        yield torch.from_numpy(inputs), torch.from_numpy(targets), None, weights
        window = min(data.window, len(self.train) // 4)
        batch = max(1, min(data.batch, len(self.train) // (2 * window)))
        streams = Streams(self.train, batch, window, data.order, seed, name=f"'{self.name}'")
        while True:
            found = streams.next()
            yield found.inputs, found.targets, found.reset, None


def domain_of(model: Any, given: Any) -> Domain:
    """What one may give as part of a stream, as a `Domain`.

    Args:
        given: a `Domain`; a data set (`inn.data`); or a corpus by name (`text8-small`, `file:PATH`, `task:NAME`), which
            a text must spell in the model's symbols.

    Raises `InputError` for what is none, and for data of another form than the model reads.
    """
    if isinstance(given, str | Path):
        given = _corpus(model, str(given))
    if isinstance(given, TaskData):
        given = Domain(given.name, given.examples("train"), given.examples("test"))
    elif isinstance(given, Dataset):
        given = Domain(given.name, given.train, given.split("test"))
    if not isinstance(given, Domain):
        raise InputError(f"a stream is of corpora by name, data sets or Domains, not of a {type(given).__name__}")
    for part in (given.train, given.test):
        _check(model, given.name, part)
    return given


def _corpus(model: Any, name: str) -> Dataset:
    if task_of(name) != "none":
        found = prepare(DataConfig(corpus=name))
        sizes = sizes_of(found.vocabulary)
        for size, value in sizes.items():
            if size != "head" and (own := getattr(model.config, size, value)) != value:
                raise InputError(f"'{name}' has {size} {value}, and the model {own}; give data of one form")
        return found
    if model.vocabulary is None:
        raise InputError(f"the model has no vocabulary to read '{name}' with; load a run, or give Domains of symbols")
    return encode_corpus(name, model.vocabulary)


def _check(model: Any, name: str, part: Any) -> None:
    c = model.config
    if hasattr(c, "vocab"):
        if isinstance(part, Examples) and part.inputs.ndim != 1:
            raise InputError(f"'{name}' is of signals, and the model reads symbols; give data of one form")
        if not isinstance(part, Examples) and (np.ndim(part) != 1 or len(part) < 2):
            raise InputError(f"'{name}' has a part of {len(part)} symbols, which cannot be scored; give a longer text")
        symbols = part.inputs if isinstance(part, Examples) else part
        if int(np.max(symbols)) >= c.vocab:
            raise InputError(f"'{name}' has symbol {int(np.max(symbols))}, and the model knows {c.vocab}")
        return
    if not isinstance(part, Examples) or part.inputs.ndim != 2 or part.inputs.shape[1] != c.features:
        raise InputError(f"'{name}' is not of examples of {c.features} features, which the model reads")
    if len(part) < 8:
        raise InputError(f"'{name}' has {len(part)} examples, and to learn takes at least 8 in each part")


def score_of(model: Any, domain: Domain, held: int) -> tuple[float, str]:
    """A model's score on what is held out of a domain, and what it is: `accuracy`, or `bits` per symbol or target.

    Args:
        held: the most symbols, or examples, that are scored; 0: all.
    """
    if isinstance(domain.test, Examples):
        few = domain.test.take(np.arange(min(held or len(domain.test), len(domain.test))))
        found = evaluate_examples(model, few)
        return (found.metrics["accuracy"], "accuracy") if "accuracy" in found.metrics else (found.bits, "bits")
    symbols = domain.test[: held or len(domain.test)]
    return evaluate(model, symbols, streams=max(1, min(8, len(symbols) // 2048))).bits, "bits"


@dataclass
class StreamLog:
    """What became of a stream of T domains.

    Attributes:
        names: of the domains.
        score: `accuracy`, or `bits` (fewer are better).
        matrix: `[T][T]`, R[t][s] the score on s after t.
        novelty: how new each was when it came, above 1 for what no descriptor knows; the first is known by definition.
        fits: the descriptor that each was found to fit, or that was made for it; 0: that of the model as it came.
        expanded: which of them an organ was grown for.
        parameters: of the model after each.
    """

    names: list[str]
    score: str = "bits"
    matrix: list[list[float]] = field(default_factory=list)
    novelty: list[float | None] = field(default_factory=list)
    fits: list[int] = field(default_factory=list)
    expanded: list[int] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)

    @property
    def better(self) -> int:
        """1 where more of the score is better, -1 where less is."""
        return 1 if self.score == "accuracy" else -1

    @property
    def average(self) -> float:
        """The mean score on all domains after the last."""
        return float(np.mean(self.matrix[-1]))

    @property
    def backward(self) -> float:
        """Backward transfer, the mean over s < T of R[T][s] - R[s][s]: below 0 something was forgotten (of bits, the
        other way round: it is always above 0 where something got better)."""
        last = len(self.names) - 1
        return self.better * float(np.mean([self.matrix[last][s] - self.matrix[s][s] for s in range(last)]))

    @property
    def forward(self) -> float:
        """Forward transfer, the mean over s > 0 of R[s - 1][s] - R[0][s]: what was learned before s did for it; above 0
        where it helped."""
        return self.better * float(
            np.mean([self.matrix[s - 1][s] - self.matrix[0][s] for s in range(1, len(self.names))])
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with the summaries."""
        own = {"average": self.average, "backward_transfer": self.backward, "forward_transfer": self.forward}
        return {**vars(self), **own}


def stream_of(model: Any, stream: Sequence[Any]) -> list[Domain]:
    """The domains of a stream, each name once; raises `InputError` for fewer than two."""
    if len(stream) < 2:
        raise InputError(
            f"a stream of {len(stream)} has nothing to learn on: its first is what the model knows; add what is to come"
        )
    found = [domain_of(model, one) for one in stream]
    if len({one.text for one in found}) > 1:
        raise InputError("a stream is of texts or of examples, not of both")
    counts: dict[str, int] = {}
    for i, one in enumerate(found):
        counts[one.name] = counts.get(one.name, 0) + 1
        if counts[one.name] > 1:
            found[i] = replace(one, name=f"{one.name} ({counts[one.name]})")
    return found
