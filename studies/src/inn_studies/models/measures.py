"""What is measured of a trained model before and after it is stored in 8 bits.

Each function gives plain data: `unit`, what the numbers are; `columns`; and `rows`, a number for each column by label.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from inn_studies.logs.samples import held_out, lines_of, sample

HERE, FULL = "as it is here, 8 bits", "32 bits"
READ, STARTS, START = 50_000, 60, 500
"""Characters of text8 that are read in one stream; starts, and characters of each."""
LINES = 500
"""Lines of each log."""


def bits_of_text8(run: str, small: str) -> dict[str, Any]:
    """Bits per character of the test part, with what was recalled and without."""
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load, load_with_data

    (full, dataset), here = load_with_data(run), load(small)
    text = dataset.split("test")
    starts = [text[at : at + START] for at in range(0, STARTS * 20_000, 20_000)]
    rows = {}
    for label, model, state in (
        (f"{FULL}, recalling all", full, full.experience),
        (f"{HERE}, recalling what proved right", here, here.experience),
        ("8 bits, recalling nothing", here, None),
    ):
        begun = statistics.mean(evaluate(model, start, state=state).bits for start in starts)
        rows[label] = [evaluate(model, text[:READ], state=state).bits, begun]
    columns = [f"{READ:,} characters of the test part, in one stream", f"{STARTS} starts of {START} characters"]
    return {"unit": "bits per character", "columns": columns, "rows": rows}


def bits_of_logs(run: str, small: str, fold: int = 0) -> dict[str, Any]:
    """Bits per byte of the logs of systems that were not read in training, each from empty tables."""
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load

    systems, rows = held_out(fold), {}
    texts = [np.frombuffer(b"".join(lines_of(sample(system))[:LINES]), np.uint8) for system in systems]
    for label, model in ((FULL, load(run)), (HERE, load(small))):
        bits = [evaluate(model, text.astype(np.int64)).bits for text in texts]
        rows[label] = [*bits, statistics.mean(bits)]
    columns = [*systems, "mean"]
    return {
        "unit": f"bits per byte, the first {LINES} lines of systems that it never read",
        "columns": columns,
        "rows": rows,
    }


def digits_heard(run: str, small: str) -> dict[str, Any]:
    """The share of recordings whose digit is told, of speakers that were heard in training, and of two others."""
    from inn.inference.held_out import evaluate_run

    parts: dict[str, dict[str, str]] = {"the same four speakers": {}, "two others": {"speakers": "unseen"}}
    rows = {
        label: [evaluate_run(path, "test", task=task)["score"] for task in parts.values()]
        for label, path in ((FULL, run), (HERE, small))
    }
    return {"unit": "accuracy on the test part", "columns": list(parts), "rows": rows}
