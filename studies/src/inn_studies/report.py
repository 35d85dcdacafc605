"""What was measured, as pages of `docs/`: summaries, and a page for every study; generated from the results files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from inn.system.files import check_writable, replace_file
from inn_studies import STUDIES, compressors, open_study
from inn_studies.headline import headline
from inn_studies.results import largest, read, tell
from inn_studies.rows import markdown
from inn_studies.study import Study, Verdict

PAGES = {
    "reproduction": """# What holds of the paper, and what does not

*Intelligent Neural Networks* (arXiv 2511.22813), every table and figure, measured again. These pages are written by
`inn study --report` from the files in `results/`; no number in them was typed by hand. *Artefact*: the number can be
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
five over topologies, so none of them is set beside ours. These pages are written by `inn study --report` from the
files in `results/`; no number in them was typed by hand. [How to use it](how-to/compress.md).
""",
}
"""The generated pages of `docs/`, by name, with how they begin."""


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a Markdown table."""
    rows = [[v.claim, v.paper, v.ours, f"**{v.outcome}**", v.because] for v in verdicts]
    return markdown(["claim", "paper", "ours", "verdict", "because"], rows)


def report(results: Path, page: str = "reproduction") -> str:
    """The summary of a page's studies as Markdown: every question, and every claim with its verdict."""
    questions, claims, outcomes = [], [], Counter[str]()
    for study in (study for study in map(open_study, STUDIES) if study.page == page):
        entry = largest(read(study, results))
        link = f"[{study.name}](studies/{study.name}.md)"
        questions.append([link, study.source, study.question if entry else f"{study.question} *Not measured yet.*"])
        for v in tell(study, entry)[1] if entry else ():
            claims.append([v.claim, v.paper, v.ours, f"**{v.outcome}**", link])
            outcomes[v.outcome] += 1
    parts = [PAGES[page]]
    if claims:
        counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
        table = markdown(["claim", "paper", "ours", "verdict", "study"], claims)
        parts.append(f"## Claims\n\nOf {len(claims)} claims: {counts}.\n\n{table}\n")
    parts.append("## Studies\n\n" + markdown(["study", "of", "question"], questions) + "\n")
    return "\n".join(parts)


def study_page(results: Path, study: Study) -> str:
    """The page of a study as Markdown; one without results says so."""
    parts = [f"# {study.name}: {study.source}\n\n{study.question} ([all studies](../{study.page}.md))\n"]
    entry = largest(read(study, results))
    if entry is None:
        return "\n".join([*parts, f"Not measured yet; `inn study {study.name} --scale cpu` does it.\n"])
    table, verdicts = tell(study, entry)
    parts.append(re.sub(r"^### ", "## ", table, flags=re.MULTILINE) + "\n")
    if (results / f"{study.name}.png").exists():
        parts.append(f"![{study.name}](../../results/{study.name}.png)\n")
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
    """Write all pages into a folder, those of studies into its folder `studies`."""
    pages = {f"{page}.md": report(results, page) for page in PAGES}
    pages |= {f"studies/{name}.md": study_page(results, open_study(name)) for name in STUDIES}
    check_writable(folder)
    (folder / "studies").mkdir(exist_ok=True)
    for name, page in pages.items():
        replace_file(folder / name, page)


def with_tables(text: str, results: Path) -> str:
    """A Markdown text with the table of every study that it marks: `<!-- table: NAME -->`, to `<!-- end -->`.

    `headline` is the table of the README. Marks of other tables, and of studies without results, are left as they are.
    """

    def table(found: re.Match) -> str:
        begin, name, _, end = found.groups()
        if name == "headline":
            text = headline(results)
            return found[0] if text is None else f"{begin}{text}\n{end}"
        entry = largest(read(study, results)) if name in STUDIES and (study := open_study(name)) else None
        return found[0] if entry is None else f"{begin}{tell(study, entry)[0]}\n{end}"

    return re.sub(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", table, text, flags=re.DOTALL)


def write_tables(results: Path, pages: Iterable[Path]) -> None:
    """Put the studies' tables where pages mark them; a page that is not there is left out."""
    for page in pages:
        if page.is_file():
            replace_file(page, with_tables(page.read_text(encoding="utf-8"), results))
