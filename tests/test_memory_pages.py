"""Every built-in memory has a page, a row in the table, and a picture of its impulse response as it is drawn now."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inn.config.parts import option_names
from inn.registry import MEMORIES

DOCS = Path(__file__).parents[1] / "docs"
KINDS = [kind for kind in MEMORIES if MEMORIES.origin(kind) == "built in"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_has_a_page_with_its_options_and_its_picture(kind):
    page = (DOCS / "memories" / f"{kind}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {kind}: ")
    assert re.search(rf"!\[.+\]\({kind}\.svg\)", page)
    assert "```python" in page
    assert "**Good for**" in page
    assert "**Not for**" in page
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE))))
    assert set(option_names(MEMORIES, kind)) - told <= {"attend"}  # of all recurrent ones: in the index
    assert f"| [{kind}]({kind}.md) |" in (DOCS / "memories" / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_small_and_named(kind):
    path = DOCS / "memories" / f"{kind}.svg"
    assert path.stat().st_size < 12_000
    svg = ElementTree.parse(path).getroot()
    assert f"memory {kind}" in svg.get("aria-label", "")
    assert not svg.findall(".//*[@fill='black']")


@pytest.mark.parametrize("kind", ["mamba", "elm"])
def test_a_picture_is_what_is_drawn_now(kind):
    """Pixel by pixel but for rounding, which is another on other processors."""
    drawn = runpy.run_path(str(DOCS / "memories.py"))["picture"](kind)
    kept = (DOCS / "memories" / f"{kind}.svg").read_text(encoding="utf-8")
    assert re.sub(r"\d+", "", drawn) == re.sub(r"\d+", "", kept)
    pairs = [(float(a), float(b)) for a, b in zip(re.findall(r"\d+", drawn), re.findall(r"\d+", kept), strict=True)]
    assert max(abs(a - b) for a, b in pairs) <= 1
