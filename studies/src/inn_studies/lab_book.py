"""`docs/lab-book.md`: what was tried on the way to the default model, failures included, from the runs' own records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.files import replace_file
from inn_studies.rows import markdown

RECORDS = "lab-book/runs.json"
"""The entries, in the folder of results; beside them is `prototypes.patch`, code that was tried and not kept."""

HEAD = """# Lab book: looking for a graph that earns its keep

What was tried, in its order: the hypothesis, the runs, their numbers, the verdict. Failures stay in it. Every run (of
entries that do not say otherwise) is
{symbols} characters of text8-69m, one seed, one thread of {hardware}; the number is the validation part's bits per
character (BPC) over the symbols shown, at the end of training. One seed shows a direction and settles nothing: what
survives is measured again by study `rivals`, with seeds and intervals. Effective neurons (linear CKA, on the last
training batch that was looked at) run from 1, all alike, to their number.

Each row is `inn train text8-last` (called `text8-small` then) with the options shown, and
`{common}`
(the last entry: `--train.eval_every 100 --train.eval_symbols 200000`). Rows marked *before* ran on commit 632928108143,
rows marked *prototype* on it with the patch `results/lab-book/prototypes.patch`, the others on this library.

This page is written by `inn study --report` from `results/lab-book/runs.json`.
"""
_COMMON = "--train.eval_every 122 --train.eval_symbols 500000 --train.threads 1 --train.sample_every 0"


def lab_book(results: Path) -> str:
    """The page as Markdown.

    Raises `InputError` where the entries are missing or damaged.
    """
    path = results / RECORDS
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        first = entries[0]["runs"][0]
        facts = {
            "symbols": f"{first['symbols']:,}",
            "hardware": f"a processor {first['hardware']['cpu']}",
            "common": _COMMON,
        }
        return "\n".join([HEAD.format(**facts), *map(_entry, entries)])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"'{path}' does not hold the entries of the lab book ({error}); restore it") from error


def write_lab_book(results: Path, path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lab_book(results))


def _entry(entry: dict[str, Any]) -> str:
    if "table" in entry:  # no text was read: the entry says what was done
        head, *rows = entry["table"]
        return (
            f"## {entry['title']}\n\n*Hypothesis.* {entry['hypothesis']}\n\n{entry['setup']}\n\n"
            f"{markdown(head, rows)}\n\n"
            f"*Verdict.* {entry['verdict']}\n"
        )
    rows = [
        [
            f"`{_options(run['command'])}`" + ("" if run["code"] == "library" else f" ({run['code']})"),
            f"{run['parameters']:,}",
            f"{run['training_flops_per_symbol'] / 1e6:.2f} M",
            f"{run['valid_bits']:.4f}",
            f"{run['scored']:,}",
            "–" if run["effective_neurons"] is None else f"{run['effective_neurons']:.1f} of {run['neurons']}",
        ]
        for run in entry["runs"]
    ]
    head = ["options", "parameters:", "training FLOPs per symbol:", "valid BPC:", "symbols:", "effective neurons:"]
    return (
        f"## {entry['title']}\n\n*Hypothesis.* {entry['hypothesis']}\n\n{markdown(head, rows)}\n\n"
        f"*Verdict.* {entry['verdict']}\n"
    )


def _options(command: str) -> str:
    """A run's options without what all have in common."""
    words = re.sub(r"^inn train text8-small ", "", command)
    for common in ("--train.eval_every", "--train.eval_symbols", "--train.threads", "--train.sample_every"):
        words = re.sub(rf"{re.escape(common)} \S+ ?", "", words)
    return words.strip().replace("--model.kind inn ", "")
