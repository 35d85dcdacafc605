"""What makes `auto` better than SVD-LLM: its parts one by one, all of them without sharing, and all of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from inn.compress.plans import PLANS
from inn_studies.compressing import compressed
from inn_studies.lab import Lab
from inn_studies.ngc import SETTINGS, SIZES, NgcSize, below, brief
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict

AT = SETTINGS[0]
RIVAL, ALONE, WHOLE = "SVD-LLM", "auto, every projection alone", "auto"
PARTS = {
    RIVAL: PLANS["svd-llm"],
    "SVD-LLM, ranks allocated": replace(PLANS["svd-llm"], allocate="energy", balance=True),
    "SVD-LLM, outputs corrected": replace(PLANS["svd-llm"], sequential="outputs"),
    ALONE: replace(PLANS["auto"], topology="svd-llm"),
    WHOLE: PLANS["auto"],
}
"""`balance` beside the allocation: without it energies of different projections have no unit in common."""


class NgcParts(Study):
    name = "ngc-parts"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "How much of what `auto` gains is sharing between projections, and how much is something else?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1, confirmed=min(16, size.confirmed)) for scale, size in SIZES.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        scored = {**size.base(), "windows": size.confirmed}
        dense = lab.compute(compressed, {"dense": {**scored, "plan": None}})["dense"]
        at = {**scored, "roles": AT.roles, "keep": AT.keep}
        found = lab.compute(compressed, {name: {**at, "plan": asdict(plan)} for name, plan in PARTS.items()})
        rows = [{"plan": name, **brief(one), "nats": [one["nats"]]} for name, one in found.items()]
        return {"model": size.model, "corpus": size.corpus, "dense": dense["perplexity"], "rows": rows}

    def table(self, result: dict[str, Any]) -> str:
        rows = {row["plan"]: row for row in result["rows"]}
        lines = []
        for name, row in rows.items():
            gain = "–" if name == RIVAL else "{:.1%} [{:.1%}, {:.1%}]".format(*below(row, rows[RIVAL]))
            lines.append([name, f"{row['perplexity']:.2f}", gain, f"{row['seconds']:.0f} s"])
        table = markdown(["plan", "perplexity:", f"below {RIVAL} [95 %]:", "compressing:"], lines)
        alone, whole = (below(rows[name], rows[RIVAL])[0] for name in (ALONE, WHOLE))
        sharing = "{:.1%} [{:.1%}, {:.1%}]".format(*below(rows[WHOLE], rows[ALONE]))
        return (
            f"{result['model']}, {AT.label}, calibrated on the validation part of {result['corpus']}, "
            f"{rows[WHOLE]['symbols']:,} symbols of its test part scored; dense {result['dense']:.2f}. Of the "
            f"{whole:.1%} that `auto` is below {RIVAL}, {alone:.1%} are there without any sharing; what sharing adds "
            f"to that is {sharing}.\n\n{table}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []
