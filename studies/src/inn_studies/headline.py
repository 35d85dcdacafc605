"""The one table of the README: what predicts text best after two and after ten million characters."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from inn_studies import compressors, open_study
from inn_studies.results import largest, read
from inn_studies.rows import markdown

NAMES = {
    "zpaq -m5": "zpaq -m5, a file compressor",
    "PPMd": "PPMd of order 8, a file compressor",
    "inn": "inn: 8 neurons, with n-gram caches",
    "one wide neuron": "one wide neuron, with the same caches",
    "mamba-stack": "Mamba stack",
    "lstm, one layer": "LSTM",
    "lstm": "LSTM",
    "transformer": "Transformer",
}
"""What a reader is told of the models of studies `text8` and `rivals`."""
COUNTING = "**inn**: 8 neurons that count, 0.22 M parameters"
COUNTS = "lab-book/counts.jsonl"
"""The runs of the default, in the folder of results."""
READ = (2_000_000, 10_000_000)
"""The characters that each column has read."""


def headline(results: Path) -> str | None:
    """Bits per character of the test part of text8-69m by model; None without results of both studies.

    The best of several forms of a baseline is taken; a model that is not in both studies is not in both columns.
    """
    entries = [largest(read(open_study(name), results)) for name in ("text8", "rivals")]
    if None in entries:
        return None
    columns = []
    for entry, symbols in zip(entries, READ, strict=True):
        result = entry["result"]  # type: ignore[index]
        found = dict(compressors.bits(result, "test"))
        for row in result["rows"]:
            blocks = row.get("test_bits") or [fmean(seed) for seed in row.get("test_blocks", ())]
            if blocks:
                found[row["label"]] = fmean(blocks)
        best: dict[str, float] = {}
        if own := _counting(results, symbols):
            best[COUNTING] = fmean(own)
        for label, bits in found.items():
            if label in NAMES:
                best[NAMES[label]] = min(bits, best.get(NAMES[label], bits))
        columns.append(best)
    order = sorted({**columns[0], **columns[1]}, key=lambda name: columns[1].get(name, columns[0].get(name, 9.0)))
    rows = [[name, *(f"{c[name]:.3f}" if name in c else "–" for c in columns)] for name in order]
    sizes = ["2 M characters read, 0.47 M parameters", "10 M characters read, 1.1 M parameters"]
    return markdown(["bits per character of held-out text8-69m", *(f"{size}:" for size in sizes)], rows)


def _counting(results: Path, symbols: int) -> list[float]:
    """Bits of the runs that have read so much, a run for each seed."""
    path = results / COUNTS
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [row["bits"] for row in rows if row["corpus"] == "text8-69m" and row["symbols"] == symbols]
