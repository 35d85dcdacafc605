"""Encoders of pictures and of texts, compressed by the plans that were made for decoders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from inn.compress.plans import PLANS
from inn_studies.encoders import encoders
from inn_studies.lab import Lab
from inn_studies.rows import markdown, spread
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

ALLOCATED = replace(PLANS["svd-llm"], allocate="energy", balance=True)
COMPARED = {
    "SVD-LLM": PLANS["svd-llm"],
    "Basis Sharing": PLANS["basis-sharing"],
    "groups in a layer": PLANS["in-layer"],
    "SVD-LLM, ranks allocated": ALLOCATED,
    "the same, groups searched": replace(ALLOCATED, topology="search", refit=True),
    "auto": PLANS["auto"],
}
KINDS = {
    "pictures": "ViT of four layers on scikit-learn's digits (accuracy of 360, higher is better)",
    "text": "ModernBERT of four layers on hidden characters of {corpus} (pseudo-perplexity, lower is better)",
}


@dataclass(frozen=True)
class EncoderSize(Size):
    """How large the study of encoders is."""

    corpus: str = "wikitext2"
    steps: int = 600
    rows: int = 48
    """Of the test part, every character of which is hidden in its turn."""
    keeps: tuple[float, ...] = (0.5, 0.2)


class NgcEncoders(Study):
    name = "ngc-encoders"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "Do the same plans compress encoders of pictures and of texts, and do groups help there?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        def of(scale: str, **fields: Any) -> EncoderSize:
            return EncoderSize(**{**vars(TEXT8[scale]), "seeds": 3, **fields})

        return {
            "smoke": of("smoke", seeds=1, corpus="pydoc", steps=5, rows=2, keeps=(0.5,)),
            "cpu": of("cpu"),
            "gpu": of("gpu", steps=6000, rows=480),
        }

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, EncoderSize)
        plans = {name: asdict(plan) for name, plan in COMPARED.items()}
        base = {"steps": size.steps, "plans": plans, "keeps": list(size.keeps), "scored": size.rows}
        cases = {
            f"{kind}, seed {seed}": {**base, "kind": kind, "corpus": size.corpus, "seed": seed}
            for kind in KINDS
            for seed in range(seeds)
        }
        found = list(lab.compute(encoders, cases).values())
        return {"corpus": size.corpus, "kinds": {k: found[i * seeds :][:seeds] for i, k in enumerate(KINDS)}}

    def table(self, result: dict[str, Any]) -> str:
        parts = []
        for kind, draws in result["kinds"].items():
            digits = 3 if kind == "pictures" else 2
            head = ["plan", "keep:", f"{draws[0]['name']}:", "of the model:", "groups that share:", "seconds:"]
            lines = [["dense", "1", spread([one["dense"] for one in draws], digits), "100%", "–", "–"]]
            for i, row in enumerate(draws[0]["found"]):
                same = [one["found"][i] for one in draws]
                lines.append(
                    [
                        row["plan"],
                        f"{row['keep']:g}",
                        spread([one["score"] for one in same], digits),
                        f"{sum(one['parameters'] for one in same) / sum(one['parameters'] for one in draws):.0%}",
                        spread([one["shared"] for one in same], 0),
                        spread([one["seconds"] for one in same], 1),
                    ]
                )
            said = KINDS[kind].format(corpus=result["corpus"])
            covered = f"{draws[0]['covered']:.0%} of its {draws[0]['parameters']:,} parameters are in projections"
            same_all = all(abs(row["score"] / one["dense"] - 1) < 0.005 for one in draws for row in one["found"])
            nothing = " **No plan costs anything here: the model has learnt too little for this to tell.**" * same_all
            parts += [f"A {said}; {len(draws)} trained models, {covered}.{nothing}", markdown(head, lines)]
        return "\n\n".join(parts)

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []
