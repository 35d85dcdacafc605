"""The page `docs/where.md`: the table of all rows on one screen, a figure, and a paragraph and a table per row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.files import write_figure
from inn.system.packages import optional
from inn_studies.results import path_of, read
from inn_studies.rows import markdown
from inn_studies.where import ROWS, open_row
from inn_studies.where.intervals import shown
from inn_studies.where.row import MODELS, SCALES, Answer, Row

_HEAD = """# Where a graph of neurons helps, and where not

Tasks of many kinds, and one protocol for all models: as many parameters as the graph has (± 2 %, or as near as widths
allow), each model at its best learning rate of those tried, chosen on the validation part and reported on the test
part. `inn study where` writes this page from the files in `results/where/`; no number in it was typed by hand.
"""


def entries(folder: Path, names: Iterable[str] = ROWS, scale: str | None = None) -> dict[str, dict[str, Any]]:
    """What was measured of each row, at a scale or at the largest; raises `InputError` where a row has nothing."""
    found = {}
    for name in names:
        row = open_row(name)
        kept = read(row, folder)
        entry = next((kept[s] for s in reversed(SCALES) if s in kept), None) if scale is None else kept.get(scale)
        if entry is None:
            raise InputError(f"'{path_of(row, folder)}' has no such results; run inn study where --rows {name}")
        found[name] = entry
    return found


def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured, of the rows that have something."""
    return {name: entry for name in ROWS for entry in _largest(folder, name)}


def _largest(folder: Path, name: str) -> list[dict[str, Any]]:
    kept = read(open_row(name), folder)
    return [kept[scale] for scale in reversed(SCALES) if scale in kept][:1]


def answer(row: Row, entry: Mapping[str, Any]) -> Answer:
    """The verdict on a row; raises `InputError` where the entry is not what this version writes."""
    if entry["result"]["skipped"]:
        return Answer("skipped", entry["result"]["skipped"])
    try:
        return row.judge(entry["result"])
    except (KeyError, TypeError, IndexError, StopIteration, ValueError) as error:
        raise InputError(
            f"the kept result of row '{row.name}' was changed, or is another version's ({error}); "
            f"run it again: {entry['command']}"
        ) from error


def one_screen(found: Mapping[str, dict[str, Any]]) -> str:
    """All rows in one table."""
    models = [m for m in MODELS if any(open_row(n).values(e["result"], m) for n, e in found.items())]
    rows = []
    for name, entry in found.items():
        row, result = open_row(name), entry["result"]
        said = answer(row, entry).answer
        floor = None if result["skipped"] else row.baseline_value(result)
        scores = [shown([] if result["skipped"] else row.values(result, model)) for model in models]
        rows.append([
            f"[{name}](#{name})", row.score, *scores, "–" if floor is None else f"{floor:.3f}",
            f"**{said}**",
        ])  # fmt: skip
    return markdown(["row", "score", *(f"{m}:" for m in models), "cheap baseline:", "verdict"], rows)


def section(row: Row, entry: Mapping[str, Any]) -> str:
    """A row's question, bar, verdict and table."""
    said, result = answer(row, entry), entry["result"]
    seeds = "1 seed" if entry["seeds"] == 1 else f"{entry['seeds']} seeds"
    better = "more is better" if row.higher else "less is better"
    machine = entry["hardware"]
    return (
        f"{row.question} The bar: {row.bar}. **{said.answer}**: {said.because}.\n\n"
        f"Scores on the test part: {row.score} ({better}). The baseline: {row.baseline or 'none'}.\n\n"
        f"{row.table(result)}\n\n"
        f"`{entry['command']}`, {seeds}; commit {entry['commit'] or 'not known'}; {machine['cpu']}, one thread a run; "
        f"torch {entry['versions']['torch']}.\n"
    )


def page(folder: Path) -> str:
    """The page of what was measured so far, as Markdown."""
    found = measured(folder)
    if not found:
        return f"{_HEAD}\nNothing is measured yet; `inn study where --scale short` does it, in an hour on two cores.\n"
    counts = [answer(open_row(name), entry).answer for name, entry in found.items()]
    tally = ", ".join(f"{counts.count(a)} {a}" for a in dict.fromkeys(counts))
    intervals = (
        "Scores are means over seeds ± half of the 95 % interval. Of a single seed a verdict uses the interval of the\n"
        "test sequences (Wilson's); where the score is no share, one seed cannot say that the graph is ahead. In the\n"
        "figure the dotted line is the cheap baseline."
    )
    parts = [_HEAD, f"Of {len(found)} rows: {tally}.\n", one_screen(found) + "\n", f"{intervals}\n"]
    if (folder / "where.png").exists():
        parts.append("![The scores of every row](../results/where/where.png)\n")
    for name, entry in found.items():
        parts.append(f"## {name}\n\n{section(open_row(name), entry)}")
    return "\n".join(parts)


def draw(folder: Path, path: Path) -> None:
    """Draw the scores of all rows side by side; nothing where matplotlib is not installed."""
    matplotlib = optional("matplotlib.figure")
    found = {n: e["result"] for n, e in measured(folder).items() if not e["result"]["skipped"]}
    if matplotlib is None or not found:
        return
    height = -(-len(found) // 3)
    figure = matplotlib.Figure(figsize=(13, 2.6 * height), layout="constrained")
    axes = figure.subplots(height, 3, squeeze=False).flatten()
    for place, (name, result) in zip(axes, found.items()):
        open_row(name).bars(result, place)
    for place in axes[len(found) :]:
        place.remove()
    write_figure(figure, path, dpi=90, metadata={"Software": None})
