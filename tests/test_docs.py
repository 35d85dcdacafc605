"""README and docs keep their word: every code block runs, in the order it is read.

A page is read from its top in an empty folder. Its `python` blocks share one namespace; of its `sh` blocks the lines
that begin with `inn` are run in this process, training as it stands but on little text and small (`brief`, `LESS`).
What cannot be run here is marked on its fence, for readers to see: `sh parsed` checks the commands' options only,
`python shown` only that it is Python. Lines of other programs (pip, make, torchrun) are read by nobody.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from inn.cli.commands import COMMANDS
from inn.cli.main import main
from inn.config.settings import recipes
from inn.explorer.server import LocalServer
from inn.models.sequence import SequenceModel
from inn.registry import TABLES
from inn_studies import STUDIES

ROOT = Path(__file__).parents[1]
WRITTEN = {
    "docs/where.md",
    "docs/family.md",
    "docs/lab-book.md",
    "docs/reproduction.md",
    *(f"docs/studies/{name}.md" for name in STUDIES),
}
"""Pages that a command writes from results; they show code of other times."""
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(p for path in ROOT.glob("docs/**/*.md") if (p := str(path.relative_to(ROOT))) not in WRITTEN),
]
LONG = {
    "README.md", "docs/inside.md", "docs/everyday.md", "docs/tutorials/organs.md", "docs/how-to/sweep.md",
    "docs/how-to/install.md", "docs/how-to/neurons-as-parts.md", "docs/tutorial.md", "docs/how-to/resume.md",
    "docs/how-to/own-objective.md", "docs/how-to/export.md", "docs/how-to/live-page.md", "docs/how-to/explain.md",
}  # fmt: skip
"""Pages that take more than a few seconds."""
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LESS = {
    "docs/tutorials/classification.md": {"max_iter=30": "max_iter=1", "* 75)": "* 8)"},
    "docs/tutorials/forecasting.md": {
        "max_iter=80": "max_iter=1",
        "24 * 7 * 40": "24 * 7 * 12",
        "range(28)": "range(2)",
    },
    "docs/tutorials/reinforcement.md": {"updates=60": "updates=1", "rounds=40": "rounds=1", "rounds=20": "rounds=1"},
}
"""Pages whose Python trains for longer than a test may: what is on the page, and what runs in its place."""
TRAINS = ("train", "demo", "sweep")
BRIEF = (
    "--train.symbols 512 --train.eval_every 4 --train.sample_every 0 --train.eval_symbols 400 "
    "--data.batch 4 --data.window 16 --device cpu --train.threads 1"
).split()
SMALL = "--model.neurons 2 --model.width 16 --model.rounds 1 --model.recall.slots 256".split()


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    number: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}, block {self.number} ({self.language})"


def blocks(page: str) -> list[Block]:
    """The blocks of a page that hold code to be run: Python and shell."""
    found = FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    return [
        Block(page, number, language, mark.strip(), text)
        for number, (language, mark, text) in enumerate(found, 1)
        if language in ("python", "sh")
    ]


def commands(text: str) -> list[str]:
    """The `inn ...` lines of a shell block, continued lines joined, comments left out; parts after && are lines too."""
    lines = [part for line in text.replace("\\\n", " ").splitlines() for part in re.split(r"&&|\|\|", line)]
    found = [re.sub(r"(^|\s+)#.*", "", line).strip().removeprefix("$ ") for line in lines]
    return [line for line in found if line.startswith("inn ")]


def brief(argv: list[str]) -> list[str]:
    """A command that trains, with little to do; what the page itself says comes later on the line, and so holds."""
    if argv[0] == "eval" and "--learn" in argv and "--learn-window" not in argv:  # fewer steps of gradient descent
        return [*argv, "--learn-window", "256"]
    if argv[0] in ("compress-text", "decompress-text") and argv[1] in recipes():  # a model that learns as it codes
        return [*argv, *SMALL]
    if argv[0] not in TRAINS or "--resume" in argv:
        return argv
    begun = "--from" in argv  # with another run's weights and text
    task = any(given.startswith(("task:", "csv:", "npz:")) for given in argv[1:2])
    if argv[0] != "demo" and not (begun or task) and not Path(argv[1]).exists():  # text that is on every machine
        argv = [argv[0], "demo", *argv[2:]]
    kind = argv[argv.index("--model.kind") + 1] if "--model.kind" in argv else "inn"
    own = BRIEF + (SMALL if kind == "inn" and "--model.preset" not in argv and not begun else [])
    given = {token.split("=")[0] for token in argv}
    if argv[0] == "sweep" and "--trials" in argv:
        argv[argv.index("--trials") + 1] = "2"
    given |= {"--data.window", "--model.recall.slots"} if task else set()  # which a task has no use for
    pairs = [pair for pair in zip(own[::2], own[1::2], strict=True) if pair[0] not in given]
    if "space.yaml" in argv:  # what is searched is not given as well
        searched = Path("space.yaml").read_text()
        pairs = [pair for pair in pairs if f"{pair[0][2:]}:" not in searched]
    if "--train.symbols" in argv:
        at = argv.index("--train.symbols") + 1
        argv = [*argv[:at], "512", *argv[at + 1 :]]
    return [*argv, *(token for pair in pairs for token in pair)]


def run_line(line: str) -> None:
    """Run a command as a person would, in the folder of the page."""
    argv = brief(shlex.split(line.split("|")[0].split(">")[0])[1:])
    if argv[0] in ("--version", "--help"):
        assert main(argv) == 0
        return
    if argv[0] in TRAINS and "--run" in argv and (run := Path(argv[argv.index("--run") + 1])).exists():
        shutil.rmtree(run)  # a page may train the same run twice, for two readers
    assert main(argv) == 0, line


def less(block: Block) -> str:
    """The Python of a block, with little to do."""
    text = block.text
    for said, instead in LESS.get(block.page, {}).items():
        text = text.replace(said, instead)
    return text


def interrupt(server: LocalServer) -> None:
    """What a person does who has seen enough."""
    raise KeyboardInterrupt


def test_the_pages_have_something_to_test():
    assert sum(len(blocks(page)) for page in PAGES) > 40
    assert {b.mark for page in PAGES for b in blocks(page)} <= {"", "parsed", "shown"}


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page, tmp_path, monkeypatch):
    """Every option of every command on the page is one that it has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text("train.lr: [0.1]")
    (tmp_path / "mine.yaml").write_text("model: {kind: inn}")
    for block in blocks(page):
        for line in commands(block.text) if block.language == "sh" else ():
            _, *argv = shlex.split(line.split("|")[0].split(">")[0])
            if not argv[0].startswith("-"):
                COMMANDS[argv[0]].parse(argv[1:])


@pytest.fixture(scope="session")
def trained(tmp_path_factory, cache) -> Path:
    """A run as `make demo` leaves it, only smaller."""
    run = tmp_path_factory.mktemp("docs") / "demo"
    assert main(["train", "demo", "--run", str(run), *BRIEF, *SMALL]) == 0
    return run


@pytest.mark.loopback
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES if blocks(page)]
)
def test_a_page_runs(page, trained, studied, tmp_path, monkeypatch, capsys):
    """Every block of the page, as it stands, from its top to its end."""
    for name in ("demo", "other"):  # what `make demo` trained
        shutil.copytree(trained, tmp_path / "runs" / name)
    (studied / "runs" / "studies").mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs" / "studies").symlink_to(studied / "runs" / "studies")
    (tmp_path / "space.yaml").write_text("train.lr: {low: 1e-3, high: 2e-2, log: true}\n")
    (tmp_path / "notes.txt").write_text("a neuron listens, then it speaks; " * 200)
    for name, count in (("days.log", 300), ("today.log", 60)):
        (tmp_path / name).write_text("".join(f"12:{i // 60:02}:{i % 60:02} status ok\n" for i in range(count)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalServer, "serve_forever", interrupt)
    endless = SequenceModel.generate
    monkeypatch.setattr(SequenceModel, "generate", lambda *a, **k: islice(endless(*a, **k), 20))
    for kinds in TABLES.values():  # what a page registers goes with it
        monkeypatch.setattr(kinds, "_registered", dict(kinds._registered))
    module = ModuleType("page")  # a real one: options of a class of its own are looked up in it
    module.__file__ = str(tmp_path / "page.py")
    monkeypatch.setitem(sys.modules, "page", module)
    names = vars(module)
    for block in blocks(page):
        try:
            if block.language == "python":
                code = compile(less(block), str(block), "exec", dont_inherit=True)
                if block.mark != "shown":
                    exec(code, names)
            elif block.mark != "parsed":
                for line in commands(block.text):
                    run_line(line)
        except BaseException as error:
            raise AssertionError(f"{block}: {error!r}\n{capsys.readouterr().err[-1500:]}") from error


@pytest.mark.parametrize("page", LESS)
def test_what_runs_shorter_is_on_the_page(page):
    said = "".join(block.text for block in blocks(page) if block.language == "python")
    assert [text for text in LESS[page] if text not in said] == []


def test_every_command_is_in_the_readme_or_the_docs():
    said = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if not re.search(rf"\binn {name}\b", said)] == []


def test_links_between_pages_lead_somewhere():
    lost = []
    for page in PAGES:
        text = re.sub(FENCE, "", (ROOT / page).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not ((ROOT / page).parent / target).exists():
                lost.append(f"{page}: {target}")
    assert lost == []


def test_the_address_in_the_readme_is_the_one_of_the_package():
    repository = re.search(r'^Repository = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert repository is not None
    assert f'git+{repository[1]}"' in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short_and_shows_a_picture_and_code_first():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert next(i for i, line in enumerate(lines, 1) if line.startswith("![")) <= 12
    assert next(i for i, line in enumerate(lines, 1) if line.startswith("```python")) <= 25
