"""Damage and repair: what each neuron is worth, and how fast a new one takes over, beside a share of a wide one."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.rows import facts, jobs, markdown, spread
from inn_studies.sizes import TEXT8, Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    from inn.models.sequence import SequenceModel

PARTS = 8
"""Neurons of the graph, and shares of the wide neuron's width."""
SHARE, GOAL = 0.02, 0.80
"""Of the training symbols that a repair reads, and of the lost bits that it is to win back."""
GRAPH, WIDE = "8 neurons", "one wide neuron"
NEW, ALL, REST = "a new part, the rest frozen", "a new part, all train", "no new part, the rest trains"
WAYS = (NEW, ALL, REST)
RATES: Mapping[str, Mapping[str, float]] = {
    GRAPH: {NEW: 1e-3, ALL: 3e-4, REST: 3e-4},
    WIDE: {NEW: 1e-3, ALL: 2e-4, REST: 2e-4},
}
"""Peak learning rates of repairs, the best of a sweep on seed 0, which is not measured here."""
POINTS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""How far a repair has read at the points of its curve."""
RANKS = {"the costliest": 0, "the median": PARTS // 2}
"""Which parts are lost, by the bits that they cost."""
BATCH, WINDOW, PASSES = 4, 32, 2
"""Streams, symbols of a step, and how often a repair reads its symbols."""
AXES = {
    "embedding.weight": ".s", "recall.into.weight": ".s.", "memory_norm.weight": ".s", "memory_norm.bias": ".s",
    "in_proj.weight": ".ds", "conv_weight": ".m.", "conv_bias": ".m", "A_log": ".m.", "memory.D": ".m",
    "x_proj.weight": "..m", "dt_proj.weight": ".m.", "dt_proj.bias": ".m", "out_proj.weight": ".sm",
    "norm.weight": "s", "norm.bias": "s",
}  # fmt: skip
"""Axes of a wide neuron's weights: `s` its stream, `m` its memory, `d` twice that; those first in the table count."""

MODELS: dict[str, Fields] = {
    GRAPH: {"kind": "inn", "neurons": PARTS, "width": 19, "rounds": 4},
    WIDE: {"kind": "inn", "neurons": 1, "router": "none", "width": 124, "rounds": 4},
}
SMALL: dict[str, Fields] = {
    GRAPH: {"kind": "inn", "neurons": PARTS, "width": 4, "rounds": 1},
    WIDE: {"kind": "inn", "neurons": 1, "router": "none", "width": 16, "rounds": 1},
}
BEST = {GRAPH: 1.2e-2, WIDE: 6e-3}
"""Learning rates of training, from the sweep of the study rivals."""
SIZES = {
    "smoke": replace(TEXT8["smoke"], models=SMALL, scored=600),
    "cpu": replace(TEXT8["cpu"].but(train_symbols=500_000), models=MODELS, scored=20_000),
    "gpu": replace(TEXT8["cpu"].but(train_symbols=20_000_000), models=MODELS, scored=100_000),
}


def masks_of(model: Any, part: int) -> dict[str, Any]:
    """Which numbers of a wide neuron's weights belong to a share of its width, by the parameter's name."""
    import torch

    width, expand = model.config.width, model.config.memory.expand
    ends = [round(width * i / PARTS) for i in (part, part + 1)]
    stream = torch.zeros(width, dtype=torch.bool)
    stream[slice(*ends)] = True
    memory = stream.repeat_interleave(expand)
    own = {"s": stream, "m": memory, "d": memory.repeat(2)}
    found = {}
    for name, p in model.named_parameters():
        axes = next((axes for end, axes in AXES.items() if name.endswith(end)), "")
        mask = torch.zeros(p.shape, dtype=torch.bool)
        for at, axis in enumerate(axes):
            if axis in own:
                mask |= own[axis].reshape(-1, *[1] * (p.dim() - at - 1))
        found[name] = mask
    return found


def zeroed(model: SequenceModel, part: int) -> SequenceModel:
    """A copy of a model of one wide neuron without a share of its width: all numbers of the share are zero."""
    new = copy.deepcopy(model)
    masks = masks_of(new, part)
    for name, p in new.named_parameters():
        p.data[masks[name]] = 0
    return new


def prepared(model: Any, way: str, part: int, seed: int) -> Any:
    """The damaged model, ready to be repaired: with a new part that nobody hears yet, or without."""
    import torch

    import inn

    if model.config.neurons > 1:
        rest = inn.keep(model, neurons=[n for n in range(model.config.neurons) if n != part])
        return rest if way == REST else inn.grow(rest, neurons=1, seed=seed, freeze=way == NEW)
    new, masks = zeroed(model, part), masks_of(model, part)
    if way != REST:  # drawn is what the new part itself hears and does; what the others and the head make of it is zero
        torch.manual_seed(seed)
        fresh = dict(inn.build_model(model.config).named_parameters())
        for name, p in new.named_parameters():
            mask = masks[name]
            if name == "norm.weight" or name.endswith("x_proj.weight"):
                continue
            if name.endswith(("in_proj.weight", "out_proj.weight")):
                mask = mask & mask.all(-1, keepdim=True)
            p.data[mask] = fresh[name].data[mask]
    if way != ALL:
        for name, p in new.named_parameters():
            free = masks[name] if way == NEW else ~masks[name]
            p.register_hook(lambda gradient, free=free: gradient * free)
    return new


def lost(run: str, limit: int) -> dict[str, Any]:
    """Bits of a run's model on the validation part, whole and without each part (a measure for `Lab.measure`)."""
    from inn.analysis import silenced
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    model.eval()
    text, without = dataset.split("valid")[:limit], []
    for part in range(PARTS):
        if model.config.neurons == 1:
            without.append(bits_of(zeroed(model, part), text))
        else:
            with silenced(model, [part]):
                without.append(bits_of(model, text))
    return {"whole": bits_of(model, text), "without": without}


def bits_of(model: SequenceModel, text: Any) -> float:
    from inn.inference.evaluate import evaluate

    return evaluate(model.eval(), text, streams=8, warmup=256).bits


def repair(run: str, way: str, part: int, rate: float, limit: int, points: Sequence[float] = POINTS) -> dict[str, Any]:
    """The bits of a run's model that lost a part, while it is repaired (a measure for `Lab.measure`).

    It reads the first symbols of the training text, `PASSES` times, by Adam at a rate that falls along a cosine.
    """
    import torch
    import torch.nn.functional as F

    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    old, dataset = load_with_data(run)
    train = Run(run).config().train
    model = prepared(old, way, part, seed=train.seed)
    held = dataset.split("valid")[:limit]
    read = int(SHARE * train.symbols) // BATCH
    text = torch.as_tensor(dataset.split("train")[: BATCH * read].astype("int64")).view(BATCH, read)
    each = (read - 1) // WINDOW
    steps = PASSES * each
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(free, rate, (0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    marks = {round(point * steps): point for point in points}
    curve, state = [], None
    for step in range(steps + 1):
        if step in marks:
            curve.append([marks[step] * SHARE * train.symbols, bits_of(model, held)])
            model.train()
        if step == steps:
            break
        at = step % each * WINDOW
        window = text[:, at : at + WINDOW + 1]
        logits, state = model(window[:, :-1], state if at else None)
        state = state.detach()
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(free, 1.0)
        optimizer.step()
        schedule.step()
    return {"curve": curve, "trained": sum(p.numel() for p in free)}


class Repair(Study):
    name = "repair"
    source = "our own"
    question = "Which neurons may be lost, and how fast does a new one take over?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        groups = {}
        for label, fields in size.models.items():
            settings = {f"model.{name}": value for name, value in fields.items()}
            groups[label] = jobs(size, f"repair {label}", settings, [BEST[label]], range(1, seeds + 1))
        lab.train([job for group in groups.values() for job in group])
        rows = []
        for label, group in groups.items():
            runs = lab.train(group)
            pairs = [(r, f) for r, f in zip(runs, lab.measure(lost, runs, limit=size.scored), strict=True) if f]
            row = {"label": label, "lr": BEST[label], "lost": [found for _, found in pairs], **facts(runs[0])}
            row["rates"] = dict(RATES[label])
            row["repairs"] = {
                rank: {way: _repairs(lab, pairs, label, way, place, size) for way in (WAYS if place == 0 else WAYS[:1])}
                for rank, place in RANKS.items()
            }
            rows.append(row)
        return {"rows": rows}

    def readings(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        return [compressors.validated(result["rows"][0])]

    def table(self, result: dict[str, Any]) -> str:
        rows = result["rows"]
        costs = [
            [
                row["label"],
                spread([found["whole"] for found in row["lost"]]),
                *(spread(bits) for bits in zip(*map(costs_of, row["lost"]), strict=True)),
            ]
            for row in rows
        ]
        repairs = [
            [
                row["label"],
                rank,
                way,
                f"{row['rates'][way]:g}",
                spread([costs_of(found)[RANKS[rank]] for found in row["lost"]]),
                spread(left(row, rank, way)),
                f"{statistics.mean(won(row, rank, way)):.0%}",
            ]
            for row in rows
            for rank, ways in row["repairs"].items()
            for way in ways
        ]
        places = [f"{i}.:" for i in range(1, PARTS + 1)]
        return (
            f"{rows[0]['symbols']:,} symbols of {rows[0]['data']['name']} per run; a repair reads the first "
            f"{SHARE:.0%} of them {PASSES} times. {said(result)}\n\nBits per character that are lost without each part "
            "alone, the costliest first: neurons that are silenced, and eighths of the wide neuron's width whose "
            f"weights are zero.\n\n{markdown(['model', 'whole, valid BPC:', *places], costs)}\n\n*A new part*: "
            "`inn.keep` of the others and `inn.grow` of one neuron; in the wide neuron numbers drawn anew in the "
            "places of the lost ones, which nobody reads yet.\n\n"
            + markdown(["model", "lost", "repair", "lr:", "bits lost:", "still lost after it:", "won back:"], repairs)
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots(1, 2)
        for row in result["rows"]:
            costs = [statistics.mean(bits) for bits in zip(*map(costs_of, row["lost"]), strict=True)]
            axes[0].plot(range(1, PARTS + 1), costs, "o-", label=row["label"])
            for rank, line in zip(RANKS, ("-", ":"), strict=True):
                symbols = [PASSES * at for at, _ in row["repairs"][rank][NEW][0]["curve"]]
                shares = [statistics.mean(won(row, rank, NEW, at)) for at in range(len(symbols))]
                axes[1].plot(symbols, shares, line, label=f"{row['label']}, {rank}")
        axes[0].set(xlabel="parts, the costliest first", ylabel="bits per character lost without it")
        axes[1].axhline(GOAL, linestyle="--", color="grey")
        axes[1].set(xlabel="symbols that a new part has read", ylabel="share won back")
        for one in axes:
            one.legend(fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _repairs(lab: Lab, pairs: Sequence[Any], label: str, way: str, place: int, size: Size) -> list[dict[str, Any]]:
    """What `repair` gives for each run, and what its parts cost, of the part at this place."""
    given = {
        "way": way,
        "rate": RATES[label][way],
        "limit": size.scored,
        "points": POINTS if way == NEW else POINTS[-1:],
    }
    return [lab.measure(repair, [run], part=by_cost(found)[place], **given)[0] for run, found in pairs]


def by_cost(found: Mapping[str, Any]) -> list[int]:
    """Parts by what they cost, the costliest first."""
    return sorted(range(PARTS), key=lambda part: -found["without"][part])


def costs_of(found: Mapping[str, Any]) -> list[float]:
    """The bits that are lost without each part, the most first."""
    return sorted((b - found["whole"] for b in found["without"]), reverse=True)


def left(row: Mapping[str, Any], rank: str, way: str, at: int = -1) -> list[float]:
    """The bits that are still lost at a point of a repair's curve, seed by seed."""
    return [r["curve"][at][1] - f["whole"] for r, f in zip(row["repairs"][rank][way], row["lost"], strict=True)]


def won(row: Mapping[str, Any], rank: str, way: str, at: int = -1) -> list[float]:
    """The share of the lost bits that a repair has won back at a point of its curve, seed by seed."""
    lost = [costs_of(found)[RANKS[rank]] for found in row["lost"]]
    return [1 - still / was for still, was in zip(left(row, rank, way, at), lost, strict=True)]


def said(result: Mapping[str, Any]) -> str:
    """What a new part won back of what the costliest one was worth, beside the goal, and what the rest does without."""
    rows = {row["label"]: row for row in result["rows"]}
    share = {label: statistics.mean(won(row, "the costliest", NEW)) for label, row in rows.items()}
    alone = statistics.mean(won(rows[GRAPH], "the costliest", REST))
    met = "reached" if share[GRAPH] >= GOAL else "not reached"
    return (
        f"A new neuron in the place of the costliest wins back {share[GRAPH]:.0%} of the lost bits (goal {GOAL:.0%}: "
        f"{met}), a new share of one wide neuron {share[WIDE]:.0%}; the rest alone, training without it, {alone:.0%}."
    )
