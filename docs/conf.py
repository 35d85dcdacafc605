"""How Sphinx makes the site of these pages: `make docs`."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

project = "INN"
author = "the INN authors"
version = release = importlib.import_module("inn").__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 4
suppress_warnings = [
    "myst.xref_missing",  # links to files that are on the forge and not on the site
]

repository = re.search(r'^Repository = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
copyright = f"{author}, Apache-2.0"

html_theme = "furo"
html_title = "INN"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_theme_options = {
    # Whole links: from "source_repository" furo makes them for the forges that it knows, and warns of others.
    "source_view_link": f"{repository[1]}/blob/main/docs/{{filename}}" if repository else "",
    "light_css_variables": {"color-brand-primary": "#2f74c0", "color-brand-content": "#2f74c0"},
    "dark_css_variables": {"color-brand-primary": "#6aaaf0", "color-brand-content": "#6aaaf0"},
}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # those of other libraries are written for other sites
autodoc_class_signature = "mixed"
# `Options` of a class only names its options' class, which is described in its own place.
autodoc_default_options = {"members": True, "exclude-members": "training, Options"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 100


_KEPT = re.compile(r"(^[ \t]*(?:>>>|\.\.\.).*$|``[^`]+``|`[^`\n]+(?:\n[^`\n]+)?`)", re.MULTILINE)
"""What has no markup inside: examples, and code, which docstrings write as Markdown does."""


def _plain(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let docstrings be read as they are written: signs that reStructuredText would take for markup are none here."""
    parts = _KEPT.split("\n".join(lines))
    for i, part in enumerate(parts):
        if i % 2 == 0:
            part = re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", part)
            parts[i] = part.replace("|", r"\|").replace("*", r"\*")
        elif part.startswith("`") and not part.startswith("``"):
            parts[i] = f"`{part}`"
    lines[:] = "".join(parts).replace(_COLON, ":").split("\n")


_COLON = "\ue000"


def _no_type(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """What stands before a colon in the docstring of a field or a constant is no type of it."""
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _pages(app: object, name: str, source: list[str]) -> None:
    """Put every command with its usage on the page of the command line; leave out pages that are not there."""
    if name == "index":
        here = Path(__file__).parent
        source[0] = re.sub(
            r"^(\S+\*)\n", lambda m: m[0] if list(here.glob(f"{m[1]}.*")) else "", source[0], flags=re.MULTILINE
        )
    if name == "command-line":
        from inn.cli.commands import COMMANDS, summaries

        parts = []
        for group, commands in summaries().items():
            parts.append(f"## {group.capitalize()}\n")
            for command, text in commands.items():
                usage = getattr(COMMANDS[command], "USAGE", f"inn {command}")
                parts.append(f"### `inn {command}`\n\n{text[0].upper()}{text[1:]}.\n\n```text\n{usage}\n```\n")
        source[0] = source[0].replace("<!-- commands -->", "\n".join(parts))


def _signature(app: object, what: str, name: str, obj: object, *rest: object) -> tuple[str, None] | None:
    """A dataclass lists its fields below; they are not said twice."""
    return ("", None) if what == "class" and dataclasses.is_dataclass(obj) else None


def setup(app: object) -> None:
    app.connect("autodoc-process-signature", _signature)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _plain)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", _no_type, priority=400)  # type: ignore[attr-defined]
    app.connect("source-read", _pages)  # type: ignore[attr-defined]
