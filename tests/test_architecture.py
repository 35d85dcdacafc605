"""The map in docs/architecture.md is the one of the code: its packages, what they say of themselves, their order."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading of the page."""
    return re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]


def packages() -> dict[str, str]:
    """Every package and the first line of its docstring."""
    found = {}
    for path in (ROOT / "src").glob("inn/**/__init__.py"):
        name = ".".join(path.parent.relative_to(ROOT / "src").parts)
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring, f"{name} says nothing of itself"
        found[name] = docstring.splitlines()[0]
    return found


def test_the_table_of_packages_is_what_they_say_of_themselves():
    rows = re.findall(r"^\| `(inn[\w.]*)` \| (.*) \|$", section("Rooms"), re.MULTILINE)
    assert dict(rows) == packages()
    assert len(rows) == len(packages())


def test_the_layers_are_those_that_imports_are_held_to():
    rooms = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))["ROOMS"]
    written = re.findall(r"^```text\n(.*?)^```", section("Layers"), re.MULTILINE | re.DOTALL)[0]
    assert re.split(r"\s*<\s*", written.strip()) == rooms


def test_files_that_the_page_names_are_there():
    source = ROOT / "src" / "inn"
    named = set(re.findall(r"[\w/]+\.py\b", PAGE)) - {"test_layers.py"}
    missing = [name for name in named if not any((base / name).is_file() for base in (ROOT, source))]
    assert missing == []
