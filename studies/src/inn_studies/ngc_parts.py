"""What makes a small model good: every part of our compression alone, on the calibrated kind of text and on others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from inn.compress.calibrate import ROWS
from inn.compress.plans import PLANS, CompressionPlan
from inn_studies.compressing import compressed
from inn_studies.lab import Lab
from inn_studies.ngc import SETTINGS, SIZES, NgcSize, Setting, below, brief
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

OURS, GROUPS = "auto", PLANS["groups"]
RIVALS: Mapping[str, CompressionPlan | str] = {
    "SVD-LLM": PLANS["svd-llm"],
    "SVD-LLM v2": "svd-llm-v2",
    "D-Rank": "d-rank",
    "Zero Sum SVD": "zero-sum",
    "MLP neurons by leverage (MoDeGPT's first step)": "nystrom",
    "MoDeGPT": "modegpt",
}
"""Published methods: plans, or the names of `ngc_rivals.RIVALS`."""
WHOLE = ("nystrom", "modegpt")
"""Those that take whole layers only."""
LOW_RANK = {
    "SVD-LLM": PLANS["svd-llm"],
    "SVD-LLM, ranks allocated": replace(PLANS["svd-llm"], allocate="energy", balance=True),
    "SVD-LLM, weighed by the loss": replace(PLANS["svd-llm"], weigh="fisher"),
    "SVD-LLM, both": replace(PLANS["svd-llm"], allocate="energy", weigh="fisher", balance=True),
    "SVD-LLM, outputs corrected": replace(PLANS["svd-llm"], sequential="outputs"),
    "groups without allocation": replace(GROUPS, allocate="even"),
    "groups without weighing": replace(GROUPS, weigh="moments"),
    "groups without correction": replace(GROUPS, sequential="no"),
    "groups without sharing": replace(GROUPS, topology="svd-llm"),
    "groups": GROUPS,
}
"""`balance` beside the allocation: without it energies of different projections have no unit in common."""
TOLD = ("SVD-LLM, both", "groups without sharing", "groups")
"""Those of low rank that are compared with neurons; what each part of them does is told of queries, keys and values."""
NEURONS = {
    "neurons": PLANS["neurons"],
    "neurons, each layer its own number": replace(PLANS["neurons"], allocate="energy"),
    OURS: PLANS["auto"],
    "auto without correction": replace(PLANS["auto"], sequential="no"),
    "auto without weighing": replace(PLANS["auto"], weigh="moments", balance=True),
}


@dataclass(frozen=True)
class _At:
    """A setting, and the plans that are compared in it."""

    setting: Setting
    plans: Mapping[str, CompressionPlan | str]


COMPARED = (
    _At(
        SETTINGS[0],
        {**{name: rival for name, rival in RIVALS.items() if rival not in WHOLE}, **LOW_RANK, OURS: PLANS["auto"]},
    ),
    _At(SETTINGS[2], {**RIVALS, **{name: LOW_RANK[name] for name in TOLD}, **NEURONS}),
)
ELSEWHERE = ("ptb", "enwik8", "python")


class NgcParts(Study):
    name = "ngc-parts"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "Which parts of our compression make a small model good, on the text it was calibrated on and on others?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {
            scale: replace(
                size, seeds=1, rows=size.rows if scale == "smoke" else ROWS, confirmed=min(16, size.confirmed)
            )
            for scale, size in SIZES.items()
        }

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        elsewhere = list(ELSEWHERE if size.corpus == SIZES["cpu"].corpus else ("python",))
        scored = {**size.base(), "windows": size.confirmed, "elsewhere": elsewhere}
        dense = lab.compute(compressed, {"dense": {**scored, "plan": None}})["dense"]
        settings = []
        for at in COMPARED:
            cases = {
                (name, draw): {
                    **scored, "roles": at.setting.roles, "keep": at.setting.keep, "draw": draw,
                    "plan": {"rival": plan} if isinstance(plan, str) else asdict(plan),
                }
                for draw in range(seeds)
                for name, plan in at.plans.items()
            }  # fmt: skip
            found = lab.compute(compressed, {f"{at.setting.label}, {n}, {d}": case for (n, d), case in cases.items()})
            rows = []
            for name in at.plans:
                mine = [found[f"{at.setting.label}, {name}, {draw}"] for draw in range(seeds)]
                texts = {size.corpus: mine, **{t: [one["elsewhere"][t] for one in mine] for t in elsewhere}}
                nats = {text: [one["nats"] for one in ones] for text, ones in texts.items()}
                ppl = {text: statistics.mean(one["perplexity"] for one in ones) for text, ones in texts.items()}
                rows.append({"plan": name, **brief(mine[0]), "texts": ppl, "nats_on": nats})
            settings.append({"label": at.setting.label, "rows": rows})
        texts = {size.corpus: dense["perplexity"], **{t: dense["elsewhere"][t]["perplexity"] for t in elsewhere}}
        return {"model": size.model, "corpus": size.corpus, "draws": seeds, "dense": texts, "settings": settings}

    def table(self, result: dict[str, Any]) -> str:
        texts = list(result["dense"])
        told = [
            f"{result['model']}, calibrated on the validation part of {result['corpus']} ({result['draws']} draws), "
            f"{result['settings'][0]['rows'][0]['symbols']:,} symbols of every text scored. The mean is the geometric "
            "one, and so is what a plan is below the best rival, paired over windows."
        ]
        for setting in result["settings"]:
            rows = {row["plan"]: row for row in setting["rows"]}
            best = min((name for name in rows if name in RIVALS), key=lambda name: _mean(rows[name]["texts"]))
            lines = [
                ["dense", *(f"{result['dense'][t]:.2f}" for t in texts), f"{_mean(result['dense']):.2f}", "–", "–"]
            ]
            for name, row in sorted(rows.items(), key=lambda item: _mean(item[1]["texts"])):
                gain = "–" if name == best else _share(row, rows[best])
                ours = [f"{row['texts'][t]:.2f}" for t in texts]
                lines.append([name, *ours, f"{_mean(row['texts']):.2f}", gain, f"{row['seconds']:.0f} s"])
            head = ["plan", *(f"{t}:" for t in texts), "mean:", f"below {best} [95 %]:", "compressing:"]
            told.append(
                f"**{setting['label']}.** The best rival is {best} ({_mean(rows[best]['texts']):.2f}); `{OURS}` is "
                f"{_share(rows[OURS], rows[best])} below it. What sharing adds to `groups` is "
                f"{_share(rows['groups'], rows['groups without sharing'])}."
            )
            told.append(markdown(head, lines))
        return "\n\n".join(told)

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _mean(perplexities: Mapping[str, float]) -> float:
    return math.exp(statistics.mean(map(math.log, perplexities.values())))


def _share(row: dict[str, Any], other: dict[str, Any]) -> str:
    return "{:.1%} [{:.1%}, {:.1%}]".format(*_below(row, other))


def _below(row: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """`below`, over the windows of all texts."""
    both = [{"nats": [list(chain(*draw)) for draw in zip(*one["nats_on"].values())]} for one in (row, other)]
    return below(*both)
