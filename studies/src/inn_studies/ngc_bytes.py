"""What to do for a smaller file, a faster model or a longer context: rounding, low rank, both, fewer neurons."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from inn_studies.lab import Lab
from inn_studies.ngc import SIZES, NgcSize
from inn_studies.rows import markdown
from inn_studies.sizes import Size
from inn_studies.study import Study, Verdict
from inn_studies.weighing import cached, weighed


@dataclass(frozen=True)
class Way:
    """A way to a smaller model, and what it is rounded to afterwards."""

    label: str
    plan: str | None = None
    keep: float = 1.0
    bits: tuple[int | None, ...] = (None,)
    correct: int = 0
    dtype: str = "bfloat16"
    by: str = "ours"
    """Who rounds, of `weighed`; the others where their library is installed."""


FULL, HALF = "float32", "bfloat16"
WAYS = (
    Way("dense", dtype=FULL),
    Way("dense", bits=(None, 8, 6, 5, 4, 3)),
    Way("dense, rounded by HQQ (torchao)", bits=(8, 6, 5, 4, 3), by="hqq"),
    Way("low rank (auto), 80 %", "auto", 0.8, (None, 8, 6)),
    Way("low rank (auto), 50 %", "auto", 0.5, (None, 8)),
    Way("rounded, error corrected by rank 16", bits=(4, 3), correct=16),
    Way("neurons cut, 80 %", "neurons", 0.8, (None, 8, 6)),
)
KEEPS = (0.5, 0.7, 0.85)
"""Shares of the cache's numbers that are looked at."""
EQUAL = 0.01
"""Perplexities that differ by less are equal."""


class NgcBytes(Study):
    name = "ngc-bytes"
    source = "our own question"
    question = "At equal bytes, speed or cache: rounding, low rank, both, a correction of low rank, or fewer neurons?"
    page = "neuronal-groups"

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1, confirmed=min(32, size.confirmed)) for scale, size in SIZES.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        assert isinstance(size, NgcSize)
        base = {**size.base(), "windows": size.confirmed}
        ways = [way for way in WAYS if way.by == "ours" or find_spec("torchao") is not None]
        options = {
            f"{way.label}, {way.dtype}": {
                **base, "plan": way.plan, "keep": way.keep, "bits": way.bits, "correct": way.correct,
                "dtype": way.dtype, **({} if way.by == "ours" else {"by": way.by}),
            }
            for way in ways
        }  # fmt: skip
        found = lab.compute(weighed, options)
        rows = [
            {"way": way.label, "kind": way.dtype if one["bits"] is None else f"int{one['bits']}", **one}
            for way in ways
            for one in found[f"{way.label}, {way.dtype}"]["rows"]
        ]
        contexts = (4096, 16384) if size.model != "tiny" else (64,)
        caches = lab.compute(
            cached, {f"cache {keep:g}": {**base, "keep": keep, "contexts": contexts} for keep in KEEPS}
        )
        return {
            "model": size.model,
            "corpus": size.corpus,
            "rows": rows,
            "caches": [{"keep": keep, **caches[f"cache {keep:g}"]} for keep in KEEPS],
        }

    def table(self, result: dict[str, Any]) -> str:
        rows = result["rows"]
        best = rows[0]["perplexity"]
        lines = [
            [
                row["way"],
                row["kind"],
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['bytes'] / rows[0]['bytes']:.1%}",
                f"{row['perplexity']:.2f}",
                f"{row['perplexity'] / best - 1:+.1%}",
                f"{row['speed']:.2f}",
            ]
            for row in rows
        ]
        table = markdown(
            ["model", "numbers", "MB on the disk:", "of float32:", "perplexity:", "against dense:", "speed:"], lines
        )
        smaller, faster, longer = _uses(result)
        return (
            f"{_answer(result)}\n\n"
            f"{result['model']}, calibrated on the validation part of {result['corpus']}, {rows[0]['symbols']:,} "
            "symbols of its test part scored. Bytes are those of the weights in the folder; speed is that of writing, "
            "one thread, in float32, against dense. Rounded numbers are ordinary ones in memory, so rounding makes "
            f"nothing faster here.\n\n{table}\n\n{_cache_table(result)}\n\n"
            f"- *A smaller file*: {smaller}\n- *A faster model*: {faster}\n- *Longer contexts*: {longer}"
        )

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def perplexity(cache: dict[str, Any]) -> float:
    return math.exp(sum(cache["nats"]) / cache["symbols"])


def _cache_table(result: dict[str, Any]) -> str:
    """Every cache: bytes of a symbol, perplexity through it, and symbols per second after each context."""
    contexts = list(result["caches"][0]["caches"]["dense"]["speeds"])
    lines = []
    for i, found in enumerate(result["caches"]):
        whole = found["caches"]["dense"]
        for name, cache in found["caches"].items():
            if i and name.startswith("dense"):
                continue
            lines.append(
                [
                    name if name.startswith("dense") else f"{name}, {found['keep']:.0%} of the numbers",
                    f"{cache['bytes']:,.0f}",
                    f"{cache['bytes'] / whole['bytes']:.1%}",
                    f"{perplexity(cache):.2f}",
                    f"{perplexity(cache) / perplexity(whole) - 1:+.1%}",
                    *(f"{cache['speeds'][context]:.1f}" for context in contexts),
                ]
            )
    heads = ["cache", "bytes a symbol:", "of dense:", "perplexity:", "against dense:"]
    return markdown([*heads, *(f"symbols/s after {int(context):,}:" for context in contexts)], lines)


def _least(result: dict[str, Any]) -> dict[str, Any]:
    """The fewest bytes whose perplexity is the dense model's."""
    rows = result["rows"]
    return min((r for r in rows if r["perplexity"] <= rows[0]["perplexity"] * (1 + EQUAL)), key=lambda r: r["bytes"])


def _answer(result: dict[str, Any]) -> str:
    least = _least(result)
    if least["way"] == "dense":
        return f'**The answer to "make it smaller" is rounding**, here to {least["kind"]}; low rank is for other uses.'
    return f'**The answer to "make it smaller" is here: {least["way"]}, {least["kind"]}.**'


def _uses(result: dict[str, Any]) -> tuple[str, str, str]:
    """What is best for each use, from the rows."""
    rows = result["rows"]
    dense = rows[0]["perplexity"]
    least = _least(result)
    quick = max(rows, key=lambda row: row["speed"])
    kept = [
        (cache["bytes"] / found["caches"]["dense"]["bytes"], name, found["keep"])
        for found in result["caches"]
        for name, cache in found["caches"].items()
        if perplexity(cache) <= perplexity(found["caches"]["dense"]) * (1 + EQUAL)
    ]
    share, name, keep = min(kept)
    of = "" if name.startswith("dense") else f", {keep:.0%} of the numbers"
    return (
        f"{least['way']}, {least['kind']}: {least['bytes'] / rows[0]['bytes']:.0%} of float32's bytes within 1 % of "
        "its perplexity.",
        f"{quick['way']}, {quick['kind']}: {quick['speed']:.2f} times as fast, at a perplexity of "
        f"{quick['perplexity']:.2f} against {dense:.2f}.",
        f"{name}{of}: {share:.0%} of dense's bytes a symbol within 1 % of its perplexity.",
    )
