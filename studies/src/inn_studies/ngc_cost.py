"""What compressing takes, and how much faster the smaller model writes."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from inn.compress.plans import PLANS
from inn_studies.compressing import cost, writing
from inn_studies.lab import Lab
from inn_studies.ngc import SIZES, NgcSize
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.streaming import streamed
from inn_studies.study import Study, Verdict

COSTS = ("svd-llm", "in-layer", "auto")
"""Plans whose time and memory are measured."""
LARGE = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 17, "num_attention_heads": 32,
    "num_key_value_heads": 4, "vocab_size": 128256,
}  # fmt: skip
"""A Llama of a billion parameters."""
SMALL = {**LARGE, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 256}


class NgcCost(Study):
    name = "ngc-cost"
    source = "Neuronal Group Communication (arXiv 2510.16851)"
    question = "What does compression take in time and memory, and how much faster is generation afterwards?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1) for scale, size in SIZES.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        base, half = size.base(), "auto, 50 %"
        shape = SMALL if size.model == "tiny" else LARGE
        stream = {"corpus": size.corpus, "plan": "svd-llm", "keep": 0.8, "rows": 8, "length": size.length, **shape}
        return {
            "model": size.model,
            # One after another, each with all cores.
            "costs": {
                name: lab.compute(cost, {name: {**base, "plan": asdict(PLANS[name]), "roles": "qkvugd"}})[name]
                for name in COSTS
            },
            "streamed": lab.compute(streamed, {"streamed": stream})["streamed"],
            "writing": lab.compute(writing, {half: {**base, "plan": asdict(PLANS["auto"]), "keep": 0.5}})[half],
        }

    def table(self, result: dict[str, Any]) -> str:
        rows = [
            [
                name,
                f"{found['seconds']:.0f} s",
                f"{found['memory_bytes'] / 2**30:.2f} GiB",
                f"{found['weights'] / 2**30:.2f} GiB",
            ]
            for name, found in result["costs"].items()
        ]
        table = markdown(["plan", "time:", "peak memory of the process:", "the model's weights:"], rows)
        w = result["writing"]
        speeds, gained = w["speeds"], (w["gain"] - 1) / (w["possible"] - 1)
        return (
            f"Compressing q, k, v and the MLP to 80 %, with all cores:\n\n{table}\n\nWriting with all projections at "
            f"50 % (auto), one stream, one thread: {speeds['compressed']:.1f} symbols per second against "
            f"{speeds['dense']:.1f}, {w['gain']:.2f} times as fast; {w['possible']:.2f} times by arithmetic alone, so "
            f"{gained:.0%} of the gain there could be.{_reading(w)}{_streamed(result.get('streamed'))}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _streamed(found: dict[str, Any] | None) -> str:
    """What is said of a model that stays in its files; nothing where that was not measured."""
    if found is None:
        return ""
    return (
        f"\n\nA Llama of {found['parameters'] / 1e9:.2f} billion random weights in bfloat16 "
        f"({found['weights'] / 2**30:.2f} GiB), compressed to 80 % by `--stream --plan svd-llm` on 8 rows, read, "
        f"scored before and after, and written: {found['seconds'] / 60:.1f} minutes "
        f"({found['core_seconds'] / 60:.1f} of one core's), {found['compressing_seconds'] / 60:.1f} of them for "
        f"compressing; peak memory of the process {found['memory_bytes'] / 2**30:.2f} GiB."
    )


def _reading(writing: dict[str, Any]) -> str:
    """The same for a text that is read at once; results of before have none."""
    if "reading" not in writing:
        return ""
    speeds = writing["reading"]
    gain = speeds["compressed"] / speeds["dense"]
    gained = (gain - 1) / (writing["possible"] - 1)
    return (
        f" Reading a stretch at once: {speeds['compressed']:,.0f} against {speeds['dense']:,.0f}, {gain:.2f} times as "
        f"fast, {gained:.0%} of the gain."
    )
