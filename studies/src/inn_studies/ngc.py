"""Neuronal groups against their peers: trained models compressed, at one budget, on one text, in one run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inn.analysis.controls.paired import paired_difference
from inn.compress.plans import PLANS, CompressionPlan
from inn_studies.compressing import compressed
from inn_studies.lab import Lab
from inn_studies.rows import markdown, spread
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class Setting:
    """What is compressed, how far, and by how much the perplexity is to be below the better rival's."""

    label: str
    roles: str | None
    """Letters of projections; None for all."""
    keep: float
    goal: float
    topologies: tuple[str, ...]
    """That are looked at beside the rivals' own."""
    others: bool = False
    """Whether the methods before the rivals are looked at too."""


_ATTENTION = (
    "qk-v", "qq-kv", "kk-qv", "vv-qk", "qkv", "qqkkvv", "hybrid1", "hybrid2", "hybrid3", "hybrid4", "hybrid5",
)  # fmt: skip
SETTINGS = (
    Setting("q, k, v at 50 %", "qkv", 0.5, 0.05, _ATTENTION, others=True),
    Setting("q, k, v at 30 %", "qkv", 0.3, 0.10, ("qkv", "qqkkvv")),
    Setting("all at 80 %", None, 0.8, 0.10, ("in-layer", "qkv-o-ugd", "qkv-o-uugg-d")),
)

RIVALS = {
    "SVD-LLM": PLANS["svd-llm"],
    "SVD-LLM, sequential": replace(PLANS["svd-llm"], sequential="inputs"),
    "Basis Sharing": PLANS["basis-sharing"],
    "Basis Sharing, updated": replace(PLANS["basis-sharing"], refit=True, sequential="inputs"),
}
"""Rivals as published, and with their own updates on what the compressed layers give."""
OTHERS = {"SVD": PLANS["svd"], "FWSVD": PLANS["fwsvd"], "ASVD": PLANS["asvd"]}
SEARCH, HAND_MADE = "search", ("svd-llm", "basis-sharing", "in-layer")
"""Topologies that are looked at with all else that `groups` does."""
PUBLISHED = PLANS["svd-llm"]
"""How a topology is compressed by the NGC authors' code, fine-tuning aside: pooled, without a refit."""
FINAL = 2
"""Plans of our own that are confirmed, beside the better form of each rival."""


@dataclass(frozen=True)
class NgcSize(Size):
    """How large the studies of neuronal groups are."""

    model: str = "smollm2"
    corpus: str = "wikitext2"
    rows: int = 32
    length: int = 512
    screened: int = 8
    """Windows that plans are screened on."""
    confirmed: int = 129
    """Windows that the final ones are scored on: 65,919 symbols of 512 a window."""
    blocks: int = 8
    """Of text, that stability is measured on."""
    compared: tuple[Setting, ...] = SETTINGS

    def base(self) -> dict[str, Any]:
        """What is compressed, and the text it is calibrated on: options of the measures in `compressing`."""
        return {"model": self.model, "corpus": self.corpus, "rows": self.rows, "length": self.length}


def _ngc(size: Size, **fields: Any) -> NgcSize:
    return NgcSize(**{**vars(size), "seeds": 3, **fields})


SIZES: dict[str, NgcSize] = {
    "smoke": _ngc(
        TEXT8["smoke"], model="tiny", corpus="pydoc", rows=4, length=32, screened=2, confirmed=4, blocks=2,
        compared=tuple(replace(s, topologies=s.topologies[:2]) for s in SETTINGS[1:]),
    ),
    "cpu": _ngc(TEXT8["cpu"]),
    "gpu": _ngc(TEXT8["cpu"], rows=128, confirmed=480),
}  # fmt: skip


class Ngc(Study):
    name = "ngc"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "Which blocks should share neuronal states, and is it better than compressing each on its own?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        base = size.base()
        dense = lab.compute(compressed, {"dense": {**base, "plan": None, "windows": size.screened}})["dense"]
        return {
            "model": size.model,
            "calibration": {"rows": size.rows, "length": size.length, "text": f"{size.corpus}, validation part"},
            "dense": dense,
            "settings": [self._setting(lab, size, setting, base, seeds) for setting in size.compared],
        }

    def _setting(self, lab: Lab, size: NgcSize, setting: Setting, base: dict[str, Any], seeds: int) -> dict[str, Any]:
        """Screen all plans on a few windows of one draw, then confirm the rivals and the best of ours."""
        at = {**base, "roles": setting.roles, "keep": setting.keep}
        tried = {name: asdict(plan) for name, plan in plans(setting).items()}
        cases = {name: {**at, "plan": plan, "windows": size.screened} for name, plan in tried.items()}
        found = lab.compute(compressed, {f"{setting.label}, {name}": case for name, case in cases.items()})
        screened = dict(zip(tried, found.values(), strict=True))
        final = finalists(screened)
        scored = {**at, "windows": size.confirmed}
        found = lab.compute(
            compressed,
            {
                f"{setting.label}, {name}, draw {draw}": {**scored, "plan": tried[name], "draw": draw}
                for name in final
                for draw in range(seeds)
            },
        )
        draws = list(found.values())
        confirmed = {name: draws[i * seeds : (i + 1) * seeds] for i, name in enumerate(final)}
        whole = lab.compute(compressed, {"dense, all windows": {**scored, "roles": None, "keep": 1.0, "plan": None}})
        return {
            "label": setting.label,
            "goal": setting.goal,
            "screened": [{"plan": name, **brief(found)} for name, found in screened.items()],
            "confirmed": [
                {
                    "plan": name,
                    **brief(found[0]),
                    "perplexity": [one["perplexity"] for one in found],
                    "seconds": [one["seconds"] for one in found],
                    "nats": [one["nats"] for one in found],
                }
                for name, found in confirmed.items()
            ],
            "dense": whole["dense, all windows"]["perplexity"],
        }

    def table(self, result: dict[str, Any]) -> str:
        said = result["calibration"]
        parts = [
            f"{result['model']}, one-shot, calibrated on {said['rows']} rows of {said['length']} symbols of "
            f"{said['text']}, scored on its test part in disjoint windows. *Keep* is the share of "
            "the parameters of the projections that are compressed, *of the model* that of the whole model's. The "
            "text is tokenised and has `<unk>`: perplexities are not comparable with published ones, only with one "
            "another."
        ]
        for setting in result["settings"]:
            parts += [f"### {setting['label'].capitalize()}", _confirmed(setting), _screened(setting)]
        return "\n\n".join(parts)

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        panels = figure.subplots(1, len(result["settings"]), squeeze=False)[0]
        for axes, setting in zip(panels, result["settings"], strict=True):
            rows = sorted(setting["screened"], key=lambda row: row["perplexity"], reverse=True)
            rows = [row for row in rows if row["perplexity"] < 4 * rows[-1]["perplexity"]]
            for kind, colour in (("ours", "C0"), ("topologies as published", "C1"), ("rivals", "0.6")):
                mine = [row for row in rows if _kind(row["plan"]) == kind]
                at = [rows.index(row) for row in mine]
                axes.barh(at, [row["perplexity"] for row in mine], color=colour, label=kind)
            axes.axvline(result["dense"]["perplexity"], color="black", lw=0.8, linestyle=":", label="dense")
            axes.set_yticks(range(len(rows)), [row["plan"].removeprefix("ours, ") for row in rows], fontsize=6)
            axes.set(title=setting["label"], xlabel="perplexity, screened")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def plans(setting: Setting) -> dict[str, CompressionPlan]:
    """All plans that are looked at in a setting, by name: rivals, published topologies, ours."""
    hand_made = HAND_MADE if setting.roles is None else tuple(dict.fromkeys((*HAND_MADE[:2], "qkv")))
    return {
        **(OTHERS if setting.others else {}),
        **RIVALS,
        **{topology: replace(PUBLISHED, topology=topology) for topology in setting.topologies},
        **{f"ours, {topology}": replace(PLANS["groups"], topology=topology) for topology in (*hand_made, SEARCH)},
    }


def finalists(screened: dict[str, dict[str, Any]]) -> list[str]:
    """The better form of each rival, and the best plans of all others."""
    order = sorted(screened, key=lambda label: screened[label]["perplexity"])
    rivals = [next(label for label in order if label.startswith(name)) for name in ("SVD-LLM", "Basis Sharing")]
    own = [label for label in order if label not in (*RIVALS, *OTHERS)][:FINAL]
    search = f"ours, {SEARCH}"
    return [*rivals, *(own if search in own else [*own[:-1], search])]


def _kind(plan: str) -> str:
    if plan in (*RIVALS, *OTHERS):
        return "rivals"
    return "ours" if plan.startswith("ours, ") else "topologies as published"


def brief(found: dict[str, Any]) -> dict[str, Any]:
    """What the results keep of a compressed model."""
    kept = ("perplexity", "symbols", "parameters", "share", "share_of_model", "flops", "lost", "seconds", "commit")
    return {**{name: found[name] for name in kept}, "groups": len(found["groups"])}


def below(row: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """By which share one confirmed plan's perplexity is below another's, with its 95 % interval.

    Paired over draws of the calibration text and windows of the scored one, by a bootstrap over both.
    """
    gap = paired_difference(np.array(row["nats"]), np.array(other["nats"]))
    return -math.expm1(-gap.bits), -math.expm1(-gap.low), -math.expm1(-gap.high)


def ahead(setting: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """By which share each confirmed plan's perplexity is `below` the better rival's."""
    better = _best(row for row in setting["confirmed"] if row["plan"] in RIVALS)
    return {row["plan"]: below(row, better) for row in setting["confirmed"] if row["plan"] not in RIVALS}


def _best(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return min(rows, key=lambda row: statistics.mean(row["perplexity"]))


def _confirmed(setting: dict[str, Any]) -> str:
    leads = ahead(setting)
    rows = []
    for row in sorted(setting["confirmed"], key=lambda row: statistics.mean(row["perplexity"])):
        found = leads.get(row["plan"])
        rows.append(
            [
                row["plan"],
                f"{row['share']:.1%}",
                f"{row['share_of_model']:.1%}",
                spread(row["perplexity"], 2),
                "–" if found is None else "{:.1%} [{:.1%}, {:.1%}]".format(*found),
                f"{statistics.mean(row['seconds']):.0f} s",
            ]
        )
    head = ["plan", "keep:", "of the model:", "perplexity:", "below the better rival by [95 %]:", "compressing:"]
    best = max(leads.items(), key=lambda item: item[1][0])
    reached = "reached" if best[1][0] >= setting["goal"] else "not reached"
    draws, first = len(setting["confirmed"][0]["perplexity"]), setting["confirmed"][0]
    hand = _best(row for row in setting["confirmed"] if row["plan"] not in (*RIVALS, f"ours, {SEARCH}"))
    search = next(row for row in setting["confirmed"] if row["plan"] == f"ours, {SEARCH}")
    lower = below(search, hand)
    good = "at least as good" if lower[0] >= 0 else "as good within the interval" if lower[2] >= 0 else "not as good"
    return (
        f"{draws} draws of the calibration text, {first['symbols']:,} symbols scored; dense "
        f"{setting['dense']:.2f}. Goal: {setting['goal']:.0%} below the better rival; {best[0]} is "
        f"{best[1][0]:.1%} below: {reached}. The search is {lower[0]:.1%} [{lower[1]:.1%}, {lower[2]:.1%}] below "
        f"the best topology made by hand ({hand['plan']}): {good}; it and all else take "
        f"{statistics.mean(search['seconds']):.0f} s of one core.\n\n{markdown(head, rows)}"
    )


def _screened(setting: dict[str, Any]) -> str:
    rows = [
        [
            row["plan"],
            f"{row['perplexity']:.2f}",
            f"{row['lost']:.4f}",
            f"{row['share']:.1%}",
            f"{row['seconds']:.0f} s",
        ]
        for row in sorted(setting["screened"], key=lambda row: row["perplexity"])
    ]
    head = ["plan", "perplexity:", "output energy lost:", "keep:", "compressing:"]
    return (
        f"All plans, screened on one draw and {setting['screened'][0]['symbols']:,} symbols (no interval, so small "
        f"gaps mean nothing):\n\n{markdown(head, rows)}"
    )
