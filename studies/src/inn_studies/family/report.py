"""The page `docs/family.md`: all entries in one table on a screen, then a paragraph and the numbers of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn_studies.family import ENTRIES, in_order, open_entry
from inn_studies.family.entry import Criterion, Entry
from inn_studies.family.results import measured
from inn_studies.rows import markdown

_HEAD = """# The family: related systems, each put to a test

Published systems that are close to a graph of neurons, each built into the library as one part, with criteria that can
fail and a control in the same table. What a paper claims and what was found at this size stand side by side.
`inn study family` writes this page from `results/family.json`; no number in it was typed by hand.

Numbers 25, 39 and 40 are missing because there is nothing to build: *Foundation Agents*
([arXiv 2504.01990](https://arxiv.org/abs/2504.01990)), *Thinking Beyond Tokens*
([arXiv 2507.00951](https://arxiv.org/abs/2507.00951)) and *Bridging Brains and Machines*
([arXiv 2507.10722](https://arxiv.org/abs/2507.10722)) are surveys.
"""


def judged(entry: Entry, kept: Mapping[str, Any]) -> list[Criterion]:
    """The criteria with their verdicts, at scale smoke without: it shows that an entry runs, and no more.

    Raises `InputError` where what is kept is not what this version writes.
    """
    if kept["result"]["skipped"]:
        return []
    try:
        found = entry.criteria(kept["result"])
        return [replace(c, verdict="undecided") for c in found] if kept["scale"] == "smoke" else found
    except (KeyError, TypeError, IndexError, StopIteration, ValueError) as error:
        raise InputError(
            f"the kept result of entry {entry.number} was changed, or is another version's ({error}); "
            f"run it again: {kept['command']}"
        ) from error


def answer(criteria: Sequence[Criterion]) -> str:
    """The verdict of an entry by those of its criteria.

    >>> answer([Criterion("a", "≥ 1", "2", "yes"), Criterion("b", "≥ 1", "0", "no")])
    'no (1 of 2 met)'
    """
    said = [c.verdict for c in criteria]
    if not said:
        return "skipped"
    if set(said) == {"yes"}:
        return "yes"
    word = "no" if "no" in said else "undecided"
    return f"{word} ({said.count('yes')} of {len(said)} met)" if len(said) > 1 else word


def one_screen(found: Mapping[int | str, dict[str, Any]]) -> str:
    """All entries in one table."""
    rows = []
    for number, kept in found.items():
        entry = open_entry(number)
        criteria = judged(entry, kept)
        first = next((c for c in criteria if c.verdict != "yes"), criteria[0] if criteria else None)
        decides = "–" if first is None else f"{first.id}: {first.measured} (goal {first.goal})"
        rows.append([
            f"[{number}](#{_anchor(entry)})", entry.title, entry.home, decides, f"**{answer(criteria)}**",
        ])  # fmt: skip
    return markdown(["#:", "entry", "in the library", "what decides it", "verdict"], rows)


def section(entry: Entry, kept: Mapping[str, Any]) -> str:
    """An entry's paragraph, its criteria, its table and what made them; what failed is said first."""
    criteria, result = judged(entry, kept), kept["result"]
    parts = [_paragraph(entry, criteria, result)]
    if criteria:
        rows = [[c.id, c.goal, c.measured, f"**{c.verdict}**"] for c in criteria]
        parts.append(markdown(["criterion", "goal", "measured", "verdict"], rows))
        parts.append(f"{entry.score[:1].upper()}{entry.score[1:]}:\n\n{entry.table(result)}")
    seeds = "1 seed" if kept["seeds"] == 1 else f"{kept['seeds']} seeds"
    machine = kept["hardware"]
    parts.append(
        f"`{kept['command']}`, {seeds}; commit {kept['commit'] or 'not known'}; {machine['cpu']}, one thread a run; "
        f"torch {kept['versions']['torch']}."
    )
    return "\n\n".join(parts) + "\n"


def _paragraph(entry: Entry, criteria: Sequence[Criterion], result: Mapping[str, Any]) -> str:
    said = [f"**{answer(criteria)}**."]
    if result["skipped"]:
        said.append(f"Skipped: {result['skipped']}.")
    for verdict, word in (("no", "Not met"), ("undecided", "Undecided"), ("yes", "Met")):
        these = "; ".join(f"{c.id}, {c.measured}" for c in criteria if c.verdict == verdict)
        if these:
            said.append(f"{word}: {these}.")
    said.append(f"After {entry.source}, which says: {entry.claim}")
    if criteria and (found := entry.found(dict(result))):
        said.append(f"Found: {found}")
    said.append(f"In the library: {entry.home}. Control: {entry.control}.")
    return " ".join(said)


def heading(entry: Entry) -> str:
    """The heading of an entry's section."""
    return f"{entry.number} {entry.title}"


def _anchor(entry: Entry) -> str:
    kept = "".join(c for c in heading(entry).lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def page(folder: Path) -> str:
    """The page of what was measured so far, as Markdown."""
    found = measured(folder)
    if not found:
        return f"{_HEAD}\nNothing is measured yet; `inn study family --scale cpu` does it.\n"
    verdicts = {n: answer(judged(open_entry(n), kept)).split(" ")[0] for n, kept in found.items()}
    tally = ", ".join(f"{list(verdicts.values()).count(v)} {v}" for v in dict.fromkeys(verdicts.values()))
    failed = ", ".join(f"{n} ({open_entry(n).title})" for n, v in verdicts.items() if v == "no")
    parts = [_HEAD, f"Of {len(found)} entries: {tally}.{f' What failed: {failed}.' if failed else ''}\n"]
    if missing := [str(n) for n in in_order(ENTRIES) if n not in found]:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    small = [str(n) for n, kept in found.items() if kept["scale"] == "smoke"]
    if small:
        parts.append(f"Only shown to run, at scale smoke: {', '.join(small)}.\n")
    parts.append(one_screen(found) + "\n")
    parts.append("Scores are means over seeds ± half of the 95 % interval.\n")
    for number, kept in found.items():
        entry = open_entry(number)
        parts.append(f"## {heading(entry)}\n\n{section(entry, kept)}")
    return "\n".join(parts)
