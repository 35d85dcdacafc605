"""41: grow a part where something is new, and only there."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from inn.config.run import DataConfig, TrainConfig
from inn.data.examples import Examples
from inn.surgery.learn_on import learn_on, train_on
from inn.surgery.stream import Domain, score_of
from inn_studies.family.entry import Criterion, Entry, row
from inn_studies.family.images import examples, network, whole
from inn_studies.lab import Lab

STREAM = ("same", "rotated", "same", "inverted", "rotated", "mirrored", "noisy", "inverted")
NEW = (1, 3, 5)
"""Where something new comes; with the first there are four kinds."""
NOISE = 0.1
OURS, PLAIN, FROZEN, JOINT, ALONE = (
    "learn_on",
    "plain fine-tuning",
    "without growth",
    "joint training",
    "one model each",
)
GAIN, LOSS = 0.15, 0.01
BATCH = DataConfig(batch=64)


def domains(images: int) -> list[Domain]:
    """The stream: images that no other of it has, and a test part for each."""
    draw = np.random.default_rng(1)
    change: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "same": lambda x: x,
        "rotated": lambda x: np.rot90(x, 1, (1, 2)),
        "inverted": lambda x: 1 - x,
        "mirrored": lambda x: x[:, :, ::-1],
        "noisy": lambda x: np.clip(x + draw.normal(0, NOISE, x.shape), 0, 1),
    }
    (x, y), (x_test, y_test) = whole("train"), whole("test")
    found = []
    for i, name in enumerate(STREAM):
        own, held = slice(i * images, (i + 1) * images), slice(min(2000, images))
        train = examples(change[name](x[own]), y[own])
        found.append(Domain(name, train, examples(change[name](x_test[held]), y_test[held])))
    return found


def grown(seed: int, images: int, passes: int) -> dict[str, Any]:
    """A stream learned on by organs, and by the controls: their matrices of accuracies (for `Lab.compute`)."""
    stream = domains(images)
    train = TrainConfig(symbols=images * passes, lr=2e-3, weight_decay=0.0, seed=seed)
    model = network(seed, neurons=4, width=32, rounds=1)
    train_on(model, stream[0], BATCH, train)
    model.eval()
    given = {"symbols": train.symbols, "lr": train.lr, "seed": seed}
    after, log = learn_on(model, stream, data={"batch": BATCH.batch}, train=given, seed=seed)
    plain, matrix = copy.deepcopy(model), [_scores(model, stream)]
    for one in stream[1:]:
        train_on(plain, one, BATCH, train)
        matrix.append(_scores(plain.eval(), stream))
    joint = network(seed, neurons=4, width=32, rounds=1)
    inputs, targets = (np.concatenate([getattr(one.train, n) for one in stream]) for n in ("inputs", "targets"))
    both = Examples.equal(inputs[:, None], targets[:, None])
    more = TrainConfig(symbols=len(stream) * train.symbols, lr=2e-3, weight_decay=0.0, seed=seed)
    train_on(joint, Domain("all", both, both), BATCH, more)
    alone = []
    for one in stream:
        own = network(seed, neurons=4, width=32, rounds=1)
        train_on(own, one, BATCH, train)
        alone.append(score_of(own.eval(), one, 0)[0])
    return {
        **log.to_dict(), "plain": matrix, "joint": _scores(joint.eval(), stream), "alone": alone,
        "before": model.num_parameters, "after": after.num_parameters,
    }  # fmt: skip


def _scores(model: Any, stream: Sequence[Domain]) -> list[float]:
    return [score_of(model, one, 0)[0] for one in stream]


def _means(last: Sequence[float]) -> dict[str, float]:
    """The mean of each kind's accuracy, and of all of the stream."""
    kinds = {name: statistics.mean(a for n, a in zip(STREAM, last) if n == name) for name in dict.fromkeys(STREAM)}
    return {**kinds, "all": statistics.mean(last)}


class Growing(Entry):
    """Eight of Fashion-MNIST in a row, of which four kinds differ, repeats and noise among them."""

    number = 41
    title = "Growing where something is new"
    source = (
        "*Self-Expansion of Pre-trained Models with Mixture of Adapters for Continual Learning*, "
        "[arXiv 2403.18886](https://arxiv.org/abs/2403.18886)"
    )
    claim = (
        "a frozen model that adds an adapter where descriptors of those it has find nothing known does best of all "
        "that rehearse nothing, and grows slower than the number of tasks."
    )
    home = "`inn.learn_on`, `inn learn-on`; readout `concat` (`organs`)"
    control = "plain fine-tuning, no growth, joint training, one model for each"
    score = "accuracy after the last of the stream, by kind"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        options = {"images": size.of(400, 4000), "passes": size.of(2, 6)}
        found = list(lab.compute(grown, {f"seed {s}": {"seed": s, **options} for s in range(seeds)}).values())
        last = {
            OURS: [run["matrix"][-1] for run in found],
            PLAIN: [run["plain"][-1] for run in found],
            FROZEN: [run["matrix"][0] for run in found],
            JOINT: [run["joint"] for run in found],
            ALONE: [run["alone"] for run in found],
        }
        rows = []
        for label, runs in last.items():
            kinds = [_means(one) for one in runs]
            size_of = found[0]["after" if label == OURS else "before"] * (len(STREAM) if label == ALONE else 1)
            scores = {name: [one[name] for one in kinds] for name in kinds[0]}
            rows.append(row(label, scores, control=label != OURS, parameters=size_of))
        kept = ("matrix", "plain", "novelty", "fits", "expanded", "parameters", "backward_transfer", "forward_transfer")
        return {"rows": rows, "stream": list(STREAM), "runs": [{name: run[name] for name in kept} for run in found]}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        runs = result["runs"]
        exact = [run["expanded"] == list(NEW) for run in runs]
        known = [run["novelty"][t] for run in runs for t in range(1, len(STREAM)) if t not in NEW]
        new = [run["novelty"][t] for run in runs for t in NEW]
        lost = [run["matrix"][0][0] - run["matrix"][-1][0] for run in runs]
        gains = [run["matrix"][t][t] - run["matrix"][0][t] for run in runs for t in NEW]
        names = [", ".join(STREAM[t] + f" ({t})" for t in run["expanded"]) for run in runs]
        sizes = {len(run["expanded"]) for run in runs}
        return [
            Criterion.of("expansions", "exactly at the new", "; ".join(dict.fromkeys(names)), all(exact)),
            Criterion.of(
                "margin", "novelty < 1 at repeats and noise, > 1 at the new",
                f"{max(known):.2f} at most, {min(new):.2f} at least", max(known) < 1 < min(new),
            ),
            Criterion.of("the old", f"loses ≤ {LOSS}", f"{max(lost):+.3f} at most", max(lost) <= LOSS),
            Criterion.of("the new", f"each gains ≥ {GAIN}", f"{min(gains):.3f} at least", min(gains) >= GAIN),
            Criterion.of("size", "grows by the number of new kinds", f"{sorted(sizes)} organs", sizes == {len(NEW)}),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        means = {r["model"]: statistics.mean(r["scores"]["all"]) for r in result["rows"]}
        plain = statistics.mean(run["plain"][0][0] - run["plain"][-1][0] for run in result["runs"])
        return (
            f"over the whole stream the grown model is right on {means[OURS]:.3f}, plain fine-tuning on "
            f"{means[PLAIN]:.3f} (it loses {plain:.3f} of the first), joint training with all of it at once on "
            f"{means[JOINT]:.3f}, and one model for each on {means[ALONE]:.3f}."
        )
