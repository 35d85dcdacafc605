"""What small screens decide about compressing, on a small model that was really trained: recipes of healing, groups."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any
from unittest.mock import patch

from inn.compress.plans import PLANS
from inn.compress.topologies import Block, BlockGroup
from inn_studies.lab import Lab
from inn_studies.ngc import SIZES
from inn_studies.ngc_heal import HealSize
from inn_studies.rows import markdown, spread
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

KEEPS = (0.3, 0.5, 0.8)
HALF = 0.5
PLAN = "groups"
"""The plan that searches for groups."""
RECIPES = ("distil", "layers-first", "ngc")
NESTED = ("auto", "neurons")
"""Plans of which one folder has several sizes."""


class NgcStories(Study):
    name = "ngc-stories"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = (
        "Which recipe heals best, are learned groups better than those of the search, and do sizes fit in one folder?"
    )
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {
            scale: HealSize(
                **{
                    **vars(size),
                    "model": "tiny" if scale == "smoke" else "stories",
                    "steps": 3 if scale == "smoke" else 200,
                }
            )
            for scale, size in SIZES.items()
        }

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, HealSize)
        base = {"model": size.model, "steps": size.steps}
        draws = range(seeds)
        healed = lab.compute(
            healing,
            {f"{name}, draw {i}": {**base, "recipe": name, "draw": i} for name in RECIPES for i in draws},
        )
        groups = lab.compute(
            grouping, {f"keep {keep}, draw {i}": {**base, "keep": keep, "draw": i} for keep in KEEPS for i in draws}
        )
        sizes = lab.compute(
            nesting,
            {f"{plan}, draw {i}": {"model": size.model, "plan": plan, "draw": i} for plan in NESTED for i in draws},
        )
        return {
            "model": size.model,
            "steps": size.steps,
            "nested": {plan: [sizes[f"{plan}, draw {i}"] for i in draws] for plan in NESTED},
            "healing": {name: [healed[f"{name}, draw {i}"] for i in draws] for name in RECIPES},
            "groups": {str(keep): [groups[f"keep {keep}, draw {i}"] for i in draws] for keep in KEEPS},
        }

    def table(self, result: dict[str, Any]) -> str:
        def all_of(rows: list[dict[str, Any]], key: str) -> str:
            return spread([row[key] for row in rows], 2)

        first = result["healing"][RECIPES[0]]
        recipes = [[name, all_of(rows, "after")] for name, rows in result["healing"].items()]
        groups = []
        for keep, rows in result["groups"].items():
            lower = [1 - row["cost"]["annealed"] / row["cost"]["search"] for row in rows]
            groups.append(
                [
                    f"{float(keep):.0%}",
                    f"{100 * statistics.mean(1 - row['cost']['search'] / row['cost']['alone'] for row in rows):.1f} %",
                    f"{100 * statistics.mean(lower):.1f} %",
                    spread([row["perplexity"]["search"] for row in rows], 2),
                    spread([row["perplexity"]["annealed"] for row in rows], 2),
                ]
            )
        nested = [
            [
                plan,
                f"{keep:.0%}",
                spread([row["own"][str(keep)] for row in rows], 2),
                spread([row["nested"][str(keep)] for row in rows], 2),
                f"{max(row['nested'][str(keep)] / row['own'][str(keep)] - 1 for row in rows):+.1%}",
                spread([row["share"] for row in rows], 2),
            ]
            for plan, rows in result["nested"].items()
            for keep in KEEPS
        ]
        sized = ["plan", "kept", "a folder of its own:", "out of one folder:", "the worst of the draws:", "numbers:"]
        head = ["keep", "search below alone:", "annealed below search:", "perplexity, search:", "perplexity, annealed:"]
        return (
            f"{result['model']} (260,032 parameters), on what it writes itself; dense "
            f"{all_of(first, 'dense')}. Groups as searched for, all projections at {HALF:.0%}, "
            f"{all_of(first, 'before')}, healed for {result['steps']} steps of 128 "
            f"symbols:\n\n{markdown(['recipe', 'perplexity:'], recipes)}\n\n"
            "Groups are learned by annealing: blocks wander between groups at a temperature that falls to nothing, by "
            "the price that the search counts with (energy lost + price x parameters, in closed form), the best of "
            f"three runs. What that gains in price, and perplexity:\n\n{markdown(head, groups)}\n\n"
            "Three sizes in one folder (`--also`): every size has what reads neurons and input states for itself, and "
            "all the rest in common. Perplexity, and what the folder has of the numbers of three folders:\n\n"
            f"{markdown(sized, nested)}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def texts(model: str, draw: int) -> tuple[Any, Any, Any, Any]:
    """A model, and rows to calibrate on, to score and to learn from, `[S, 128]`: what it writes itself."""
    import torch

    from inn_studies.stories import stories

    if model == "tiny":
        from inn_studies.compressing import decoder

        made = decoder("tiny")[0]
    else:
        made = stories()
    few = 8 if model == "tiny" else 128
    torch.manual_seed(draw)
    start = torch.ones(few, 1, dtype=torch.long)
    rows = made.generate(
        start, attention_mask=torch.ones_like(start), max_new_tokens=127, min_new_tokens=127, do_sample=True, top_k=0
    )  # type: ignore[operator]
    return made, rows[: few // 4], rows[few // 4 : few // 2], rows[few // 2 :]


def healing(model: str, recipe: str, steps: int, draw: int) -> dict[str, Any]:
    """Perplexities of the dense model, of `PLAN` at half the size, and of that healed."""
    import copy

    from inn.compress import compress, heal
    from inn.compress.measure import score

    dense, calibration, scored, lessons = texts(model, draw)
    small = copy.deepcopy(dense)
    compress(small, calibration, PLAN, HALF)

    def perplexity(one: Any) -> float:
        return score(one, scored.flatten(), scored.shape[1]).perplexity

    found = {"dense": perplexity(dense), "before": perplexity(small)}
    heal(small, dense, lessons.flatten(), steps=steps, recipe=recipe, length=lessons.shape[1], seed=draw)
    return {**found, "after": perplexity(small)}


def nesting(model: str, plan: str, draw: int) -> dict[str, Any]:
    """Perplexities of smaller models: each made for its size, and out of one folder for all of them.

    `share` is what the folder has of the numbers of as many folders.
    """
    import copy
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from inn.compress import compress
    from inn.compress.measure import score
    from inn.compress.nested import at_size, nest, save

    dense, calibration, scored, _ = texts(model, draw)

    def perplexity(one: Any) -> float:
        return score(one, scored.flatten(), scored.shape[1]).perplexity

    found: dict[str, dict[str, float]] = {"own": {}, "nested": {}}
    largest = copy.deepcopy(dense)
    sizes = nest(largest, calibration, KEEPS, plan)
    numbers = sum(p.numel() for p in largest.parameters())
    numbers, apart = numbers + sum(w.numel() for of in sizes.readers.values() for w in of.values()), 0
    with TemporaryDirectory() as folder:
        save(sizes, folder)
        for keep in KEEPS:
            own = copy.deepcopy(dense)
            compress(own, calibration, plan, keep)
            apart += sum(p.numel() for p in own.parameters())
            one = largest if keep == max(KEEPS) else at_size(copy.deepcopy(largest), Path(folder), keep)
            found["own"][str(keep)], found["nested"][str(keep)] = perplexity(own), perplexity(one)
    return {**found, "share": numbers / apart}


def grouping(model: str, keep: float, steps: int, draw: int) -> dict[str, Any]:
    """What groups cost, and the perplexity with them: every block alone, those of the search, and annealed ones."""
    import copy

    from inn.compress.allocate import price_at
    from inn.compress.blocks import find_blocks
    from inn.compress.calibrate import Stream
    from inn.compress.measure import score
    from inn.compress.passes import Passes
    from inn.compress.run import compress
    from inn.compress.search import price
    from inn.compress.states import dense_size

    dense, calibration, scored, _ = texts(model, draw)
    blocks = find_blocks(dense)
    order = Stream(dense, calibration[:1]).order(blocks)
    passes = Passes(dense, calibration, PLANS[PLAN], blocks, order, lambda what, done, of: None)
    alone: list[BlockGroup] = [(block,) for block in sorted(blocks)]
    shapes = [passes.shapes(group) for group in alone]
    per = price_at(passes.spectra(alone), shapes, keep * sum(map(dense_size, shapes)))
    stream, known = Stream(dense, passes.few), {}
    for layer in range(len(stream.layers)):
        here, stream.batches = stream.moments(blocks, layer, stream.batches)
        known |= here
    costs: dict[BlockGroup, float] = {}

    def cost(group: BlockGroup) -> float:
        if group not in costs:
            one = passes.weighed(group, known)
            costs[group] = price(one.weights, one.moments, per).cost
        return costs[group]

    def may(group: BlockGroup) -> bool:
        """Whether the search could come to it: the same projections of adjacent layers, of one input in each."""
        inside = [list(part) for _, part in groupby(group, lambda block: block.layer)]
        layers = [part[0].layer for part in inside]
        alike = len({tuple(block.role for block in part) for part in inside}) == 1
        one_input = all(known[block] is known[part[0]] for part in inside for block in part)
        return alike and one_input and layers == list(range(layers[0], layers[-1] + 1))

    search = passes.search(blocks, keep)
    runs = [annealed(alone, cost, may, steps * len(alone), seed) for seed in range(3)]
    found = {"alone": alone, "search": search, "annealed": min(runs, key=lambda groups: sum(map(cost, groups)))}
    perplexity = {}
    for name, groups in found.items():
        small = copy.deepcopy(dense)
        with patch.object(Passes, "search", lambda *_, groups=groups: sorted(groups)):
            compress(small, calibration, PLAN, keep)
        perplexity[name] = score(small, scored.flatten(), scored.shape[1]).perplexity
    total = {name: sum(map(cost, groups)) for name, groups in found.items()}
    return {"cost": total, "perplexity": perplexity, "groups": {name: len(groups) for name, groups in found.items()}}


def annealed(
    groups: Sequence[BlockGroup],
    cost: Callable[[BlockGroup], float],
    may: Callable[[BlockGroup], bool],
    steps: int,
    seed: int,
) -> list[BlockGroup]:
    """Groups after so many steps of merging two or splitting one, at a temperature that falls to nothing.

    A step that costs more is taken with the probability exp(-cost / temperature); the temperature falls from a fiftieth
    of what all groups cost to a ten-thousandth of that.
    """
    draw, now = random.Random(seed), list(groups)
    hot = sum(map(cost, now)) / 50
    for step in range(steps):
        temperature = hot * 1e-4 ** (step / steps)
        if draw.random() < 0.5:
            old = draw.sample(now, 2) if len(now) > 1 else []
            new = [tuple(sorted(old[0] + old[1]))] if old else []
        else:
            old = [draw.choice(now)]
            new = [part for part in _split(old[0], draw) if part]
        if not new or len(new) == len(old) or not all(map(may, new)):
            continue
        more = sum(map(cost, new)) - sum(map(cost, old))
        if more < 0 or draw.random() < math.exp(-more / temperature):
            now = [group for group in now if group not in old] + new
    return sorted(now)


def _split(group: BlockGroup, draw: random.Random) -> tuple[BlockGroup, BlockGroup]:
    """Two parts of a group: layers before one and from it on, or some of its projections and the others."""
    key: Callable[[Block], Any] = (lambda block: block.layer) if draw.random() < 0.5 else (lambda block: block.role)
    kinds = sorted({key(block) for block in group})
    mine = (
        kinds[: draw.randrange(len(kinds))]
        if isinstance(kinds[0], int)
        else draw.sample(kinds, draw.randrange(len(kinds)))
    )
    return tuple(b for b in group if key(b) in mine), tuple(b for b in group if key(b) not in mine)
