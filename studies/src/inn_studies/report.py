"""`docs/reproduction.md` and `docs/neuronal-groups.md`: what was measured, generated from the results files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from inn.system.files import check_writable, replace_file
from inn_studies import STUDIES, compressors, open_study
from inn_studies.results import largest, read, tell
from inn_studies.rows import markdown
from inn_studies.study import Verdict

PAGES = {
    "reproduction": """# What holds of the paper, and what does not

*Intelligent Neural Networks* (arXiv 2511.22813), every table and figure, measured again. This page is written by
`inn study --report` from the files in `results/`; no number in it was typed by hand. *Artefact*: the number can be
had, but not for the reason the paper gives. *PPMd* (order 8) and *zpaq -m5* are file compressors. They first read the
text that the models were trained on; counted is what the scored text then adds to the compressed file, with tables of
one size for both. They have no parameters and go on learning while they read, as the state of a model does.
""",
    "neuronal-groups": """# Neuronal groups, measured

*Neuronal Group Communication* (arXiv 2510.16851) makes a weight an interaction of two neuronal states and lets blocks
share those of their inputs. Its method is reconstructed from the abstract and the authors' released code, and so are
the definitions of stability; nothing of their code is used. SVD, FWSVD, ASVD, SVD-LLM and Basis Sharing are plans of
the same factorisation (equal to their published algebra to 1e-8, `tests/compress`), all compared in one run.
The accuracies that the authors released are of other models and tasks, after fine-tuning, and the gains are best of
five over topologies, so none of them is set beside ours. This page is written by `inn study --report` from the files in
`results/`; no number in it was typed by hand. [How to use it](how-to/compress.md).
""",
}
"""The generated pages of `docs/`, by name, with how they begin."""


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a Markdown table."""
    rows = [[v.claim, v.paper, v.ours, f"**{v.outcome}**", v.because] for v in verdicts]
    return markdown(["claim", "paper", "ours", "verdict", "because"], rows)


def report(results: Path, page: str = "reproduction") -> str:
    """A whole page as Markdown; studies without results say so."""
    parts = [PAGES[page]]
    for study in (study for study in map(open_study, STUDIES) if study.page == page):
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
            f"{machine.get('gpu') or machine['cpu']}, {machine['cores']} cores; torch {entry['versions']['torch']}."
            f"{compressors.origin(study, entry['result'])}\n"
        )
    return "\n".join(parts)


def write_report(results: Path, folder: Path) -> None:
    """Write all pages into a folder."""
    pages = {f"{page}.md": report(results, page) for page in PAGES}
    check_writable(folder)
    for name, page in pages.items():
        replace_file(folder / name, page)


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
