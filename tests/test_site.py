"""`make docs`: the site is made without a warning, and everything public is in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("furo")
pytest.importorskip("myst_parser")

import inn
from inn.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
EXTENSIONS = "sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"
"""Those of `docs/conf.py`, but for the one that makes a page of every file of the source."""

EVERY = ("index", "command-line", "results", "search", "inside", "how-to/install", "studies/text8", "api/models")
MORE = ("tutorial", "concepts", "glossary", "faq", "how-to/watch-a-log", "how-to/own-loop", "api/index")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, made as `make docs` makes it, but elsewhere."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    command += ["-D", "toc_object_entries=0"]  # half of the time is spent on copying entries of objects into every menu
    command += ["-D", f"extensions={','.join(EXTENSIONS)}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return out


@pytest.mark.slow
def test_every_page_is_in_the_site_and_can_be_reached(site):
    pages = [p.relative_to(ROOT / "docs").with_suffix(".html") for p in ROOT.glob("docs/**/*.md")]
    assert len(pages) > 20
    menu = (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        assert (site / page).is_file()
        if page.name != "index.html" and page.parts[0] != "api":
            assert f'href="{page.as_posix()}"' in menu, f"{page} is in no menu"


@pytest.mark.slow
def test_everything_public_is_in_the_reference(site):
    text = "".join(page.read_text(encoding="utf-8") for page in site.glob("api/*.html"))
    for name in set(inn.__all__) - {"__version__"}:
        assert re.search(rf'id="inn\.[\w.]*\b{name}"', text), name


@pytest.mark.slow
def test_every_command_is_on_its_page(site):
    text = (site / "command-line.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"inn {name}" in text


@pytest.mark.slow
def test_pictures_are_there(site):
    for page in site.glob("**/*.html"):
        for source in re.findall(r'<img[^>]* src="([^"]+)"', page.read_text(encoding="utf-8")):
            assert source.startswith("data:") or (page.parent / source).is_file(), f"{page.name}: {source}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("width, scheme, names", [(1280, "light", EVERY + MORE), (390, "dark", EVERY)])
def test_pages_are_accessible(site, audit, width, scheme, names):
    """One of every sort on a wide page and a narrow one, and those that a newcomer reads first on a wide one."""
    assert audit([(site / f"{name}.html").as_uri() for name in names], "body", width, scheme) == []
