"""`docs/reproduction.md`: the paper's numbers, ours, and what became of each, generated from the results files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from inn.studies import STUDIES, open_study
from inn.studies.results import largest, read, tell
from inn.studies.rows import markdown
from inn.studies.study import Verdict
from inn.training.files import check_writable, replace_file

HEAD = """# What holds of the paper, and what does not

*Intelligent Neural Networks* (arXiv 2511.22813), every table and figure, measured again. This page is written by
`inn study --report` from the files in `results/`; no number in it was typed by hand. *Artefact*: the number can be
had, but not for the reason the paper gives.
"""


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a Markdown table."""
    rows = [[v.claim, v.paper, v.ours, f"**{v.outcome}**", v.because] for v in verdicts]
    return markdown(["claim", "paper", "ours", "verdict", "because"], rows)


def report(results: Path) -> str:
    """The whole page as Markdown; studies without results say so."""
    parts = [HEAD]
    for study in map(open_study, STUDIES):
        parts.append(f"## {study.name}: {study.source}\n\n{study.question}\n")
        entry = largest(read(study, results))
        if entry is None:
            parts.append(f"Not measured yet; `inn study {study.name} --scale cpu` does it.\n")
            continue
        table, verdicts = tell(study, entry)
        parts.append(table + "\n")
        if (results / f"{study.name}.png").exists():
            parts.append(f"![{study.name}](../results/{study.name}.png)\n")
        if verdicts:
            parts.append(verdict_table(verdicts) + "\n")
        machine = entry["hardware"]
        seeds = "1 seed" if entry["seeds"] == 1 else f"{entry['seeds']} seeds"
        parts.append(
            f"`{entry['command']}`, {seeds}; commit {entry['commit'] or 'not known'}; "
            f"{machine.get('gpu') or machine['cpu']}, {machine['cores']} cores; torch {entry['versions']['torch']}.\n"
        )
    return "\n".join(parts)


def write_report(results: Path, path: Path) -> None:
    """Write the page."""
    page = report(results)
    check_writable(path.parent)
    replace_file(path, page)


def with_tables(text: str, results: Path) -> str:
    """A Markdown text with the table of every study that it marks: `<!-- table: NAME -->`, to `<!-- end -->`.

    Marks of other tables, and of studies that have no results, are left as they are.
    """

    def table(found: re.Match) -> str:
        begin, name, _, end = found.groups()
        entry = largest(read(study, results)) if name in STUDIES and (study := open_study(name)) else None
        return found[0] if entry is None else f"{begin}{tell(study, entry)[0]}\n{end}"

    return re.sub(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", table, text, flags=re.DOTALL)


def write_tables(results: Path, readme: Path) -> None:
    """Put the studies' tables where a page marks them; a page that is not there is left out."""
    if readme.is_file():
        replace_file(readme, with_tables(readme.read_text(encoding="utf-8"), results))
