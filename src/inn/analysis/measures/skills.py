"""Skills, data and neurons as one network: which neurons a skill needs, which go together, and are they apart?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inn.analysis.controls.shuffle import Null
from inn.analysis.lesions.cause import bits_under, unlesioned, worth_of
from inn.analysis.lesions.importance import importance
from inn.analysis.lesions.lesion import silenced
from inn.analysis.measures.communities import agreement, communities, normalised_information
from inn.analysis.recording.sequences import sequences
from inn.analysis.recording.stretches import Neurons, Reading, stretches
from inn.data.examples import Examples
from inn.data.tasks.base import Task
from inn.nn.modes import device_of
from inn.system.errors import InputError

Data = Reading | Examples | Task | np.ndarray
"""What a model is read on: sequences of a task, a text as whole numbers, or what is read already."""


@dataclass(frozen=True)
class Localisation:
    """What it costs to silence whole groups of neurons.

    Attributes:
        groups: of neurons.
        bits: `[G, data]` more bits per target on each data set without each group.
        null: of how far apart they are (`lead`): groups of the same sizes, drawn at random.
    """

    groups: list[list[int]]
    bits: Tensor
    null: Null


@dataclass(frozen=True)
class Skills:
    """Skills, data and neurons.

    Attributes:
        names: of the skills, S.
        data: names of the data sets.
        needs: `[data, N]` more bits per target on each without each neuron, or Shapley values in bits.
        weights: `[S, N]` how much of what a skill needs each neuron is: rows sum to 1.
        network: `[N, N]` how alike what two neurons are needed for is, 0 to 1.
        communities: of that network, see `communities_of`.
        agreement: with labels that were given: the adjusted Rand index `ari` and the normalised mutual information
            `nmi`, each with labels shuffled as its null; empty without labels.
        localisation: what silencing whole groups costs: those of the labels, without labels the communities.
    """

    names: list[str]
    data: list[str]
    needs: Tensor
    weights: Tensor
    network: np.ndarray
    communities: dict[str, Any]
    agreement: dict[str, Null]
    localisation: Localisation


def skills(
    model: Neurons,
    tasks: Mapping[str, Data],
    *,
    of: Mapping[str, Sequence[str]] | None = None,
    labels: Sequence[Any] | None = None,
    symbols: int = 2048,
    pairs: int = 0,
    draws: int = 200,
    lesions: int = 19,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Skills:
    """Which neurons which skills need, and whether neurons that are needed together form communities.

    After arXiv 2508.18192: a network of skills and data sets, by annotation, times one of data sets and modules, by
    importance; here the modules are neurons, and importance is what silencing one costs. The communities are those of
    the network of neurons, where two are as near as the cosine of what they are needed for.

    Args:
        model: an INN or a graph on signals.
        tasks: data sets by name, two or more: examples, a task (its part `valid`), or a text.
        of: the data sets that belong to each skill; when not given each data set is a skill.
        labels: `[N]` what each neuron is said to belong to, to compare communities with.
        symbols: of each data set that are read, about.
        pairs: 0: a neuron is needed by what silencing it alone costs, which misses those that stand in for one another;
            2 or more: by its Shapley value over so many pairs of orders (`importance`), which does not and takes
            2 x pairs times as long.
        draws: random graphs, and shuffles of labels, for the nulls.
        lesions: random groups for the null of the localisation.
        seed: of all draws.
        report: called with (lesions done, lesions to do) while neurons are silenced one by one.

    Raises:
        InputError: for fewer than two tasks, a skill of data sets that are not there, labels that are not one for each
            neuron, a model without neurons, and data that the model cannot read.

    >>> from inn import INN, task
    >>> both = {f"source {k}": task("parity", length=8, examples=64, seed=k) for k in range(2)}
    >>> found = skills(INN(vocab=2, neurons=3, width=4, rounds=1, recall="none"), both, draws=9, lesions=1)
    >>> found.needs.shape, found.localisation.bits.shape[1]
    (torch.Size([2, 3]), 2)
    """
    if not isinstance(model, Neurons):
        raise InputError(f"a {type(model).__name__} has no neurons to silence; give an INN or a graph on signals")
    if len(tasks) < 2:
        raise InputError(f"skills are told apart by two tasks or more, not by {len(tasks)}; give another one")
    neurons, data = model.config.neurons, list(tasks)
    of = {name: [name] for name in data} if of is None else of
    for skill, names in of.items():
        if not names or not set(names) <= set(data):
            raise InputError(f"skill '{skill}' is of data sets {list(names)}; there are {', '.join(data)}")
    if labels is not None and len(labels) != neurons:
        raise InputError(f"labels must be one for each of {neurons} neurons, not {len(labels)}")
    readings = {name: _reading(model, given, symbols) for name, given in tasks.items()}
    rng = np.random.default_rng(seed)
    needs = (
        torch.tensor(
            [importance(worth_of(model, r), neurons, pairs=pairs, seed=seed).values for r in readings.values()]
        ).double()
        if pairs
        else costs(model, readings, [[n] for n in range(neurons)], report)
    )
    positive = needs.clamp_min(0)
    chosen = torch.tensor([[float(name in of[skill]) for name in data] for skill in of], dtype=torch.float64)
    weights = chosen @ (positive / positive.sum(1, keepdim=True).clamp_min(1e-300)) / chosen.sum(1, keepdim=True)
    found = communities_of(needs, draws=draws, seed=seed)
    same = {} if labels is None else agrees(found["groups"], labels, draws=draws, seed=seed)
    groups = found["groups"] if labels is None else grouped(labels)
    bits = costs(model, readings, groups)
    drawn = []
    for _ in range(lesions):
        order = rng.permutation(neurons).tolist()
        random = [[order.pop() for _ in group] for group in groups]
        drawn.append(lead(costs(model, readings, random)))
    return Skills(
        list(of),
        data,
        needs,
        weights,
        likeness(needs),
        found,
        same,
        Localisation(groups, bits.T, Null.of(lead(bits), drawn)),
    )


def communities_of(needs: Tensor, *, draws: int = 200, seed: int = 0) -> dict[str, Any]:
    """Communities of neurons by what they are needed for `[data, N]`, and how much more modular they are than chance.

    No network of likenesses is without groups. So the null is one of likenesses, too: of neurons whose needs are dealt
    out anew, data set by data set.

    >>> needs = torch.eye(3, dtype=torch.float64).repeat_interleave(3, 1) + 0.01 * torch.rand(3, 9)
    >>> found = communities_of(needs, draws=30)
    >>> found["groups"], found["null"]["p"] < 0.1
    ([[0, 1, 2], [3, 4, 5], [6, 7, 8]], True)
    """
    found, rng = communities(likeness(needs), seed, draws=0), np.random.default_rng(seed)
    shuffled = []
    for _ in range(draws):
        dealt = torch.stack([need[torch.from_numpy(rng.permutation(len(need)))] for need in needs])
        shuffled.append(communities(likeness(dealt), seed, draws=0)["modularity"])
    return {**found, "null": asdict(Null.of(found["modularity"], shuffled))}


def costs(
    model: Neurons,
    readings: Mapping[str, Reading],
    groups: Sequence[Sequence[int]],
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """More bits per target on each data set with each group of neurons silenced, `[data, groups]` float64."""
    rows = []
    for k, reading in enumerate(readings.values()):
        bits = bits_under(model, reading, [unlesioned, *(partial(silenced, model, list(group)) for group in groups)])
        mean = bits.double().flatten(1).nanmean(1)
        rows.append(mean[1:] - mean[0])
        if report is not None:
            report((k + 1) * len(groups), len(readings) * len(groups))
    return torch.stack(rows)


def likeness(needs: Tensor) -> np.ndarray:
    """How alike what two neurons are needed for is `[N, N]`: the cosine of their columns of `[data, N]`, 0 to 1.

    What a neuron is needed for above the average of the data sets and of the neurons counts: what all are needed for
    alike says nothing of who goes with whom.

    >>> likeness(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).round(6).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x = needs.double() - needs.double().mean(0)
    x = x / x.norm(dim=0).clamp_min(1e-300)
    return (x.T @ x).clamp(0, 1).numpy()


def agrees(
    groups: Sequence[Sequence[int]], labels: Sequence[Any], *, draws: int = 200, seed: int = 0
) -> dict[str, Null]:
    """How far groups of neurons agree with their labels `[N]`: `ari` and `nmi`, with the labels shuffled as the null.

    >>> found = agrees([[0, 1, 2], [3, 4, 5]], ["a", "a", "a", "b", "b", "b"])
    >>> found["ari"].observed, round(found["nmi"].observed, 6)
    (1.0, 1.0)
    """
    rng, found = np.random.default_rng(seed), {}
    orders = [rng.permutation(len(labels)) for _ in range(draws)]
    for name, statistic in (("ari", agreement), ("nmi", normalised_information)):
        shuffled = [statistic(groups, grouped([labels[n] for n in order])) for order in orders]
        found[name] = Null.of(statistic(groups, grouped(labels)), shuffled)
    return found


def grouped(labels: Sequence[Any]) -> list[list[int]]:
    """The neurons of each label.

    >>> grouped(["b", "a", "b"])
    [[0, 2], [1]]
    """
    found: dict[Any, list[int]] = {}
    for n, label in enumerate(labels):
        found.setdefault(label, []).append(n)
    return list(found.values())


def lead(bits: Tensor) -> float:
    """By how many bits a group is needed more by the data set that needs it most than by the others, on average.

    >>> lead(torch.tensor([[1.0, 0.5], [0.0, 0.5]]))  # [data, G]
    0.5
    """
    most = bits.amax(0)
    return float((most - (bits.sum(0) - most) / (len(bits) - 1)).mean())


def _reading(model: Neurons, given: Data, symbols: int) -> Reading:
    """What is read of a data set."""
    device = device_of(model)
    if isinstance(given, Task):
        part = given.part("valid")
        assert part is not None
        given = part
    if isinstance(given, Examples):
        return sequences(given, symbols, device=device)
    if isinstance(given, np.ndarray):
        return stretches(given, symbols, device=device)
    if not isinstance(given, Reading):
        raise InputError(f"a data set must be examples, a task or a text of whole numbers, not {type(given).__name__}")
    return given
