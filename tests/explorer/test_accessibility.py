"""The page and the page of `inn play` under axe-core, an automated audit of accessibility; and the site of the docs.

`make docs` first, for the last one.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from threading import Thread

import pytest

from inn.explorer.page import build_page
from inn.explorer.player import Player
from inn.explorer.server import LocalServer

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

VIEWS = ("passage", "neurons", "neuron-1", "connections", "training", "samples")
SITE = Path(__file__).parents[2] / "docs" / "_build"
PAGES = ("index", "tutorial", "concepts", "how-to/own-memory", "api/index", "command-line", "speed")
"""Of the site, one of each kind."""
OPTIONS = (
    "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
)
TEXT = "the cat sat on the mat and 猫 🐈 "


@pytest.fixture
def audit(chromium):
    """`audit(addresses, ready, width, scheme)`: what axe finds serious or critical on pages, a line for each."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed; it comes with [dev]")
    script = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")

    def run(addresses, ready, width, scheme, act=lambda tab: None):
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab = context.new_page()
        tab.goto(addresses[0])
        tab.wait_for_selector(ready, state="attached")
        act(tab)
        found = []
        for address in addresses:
            tab.goto(address)
            tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            tab.evaluate(script)
            for fault in tab.evaluate(f"axe.run(document, {OPTIONS})")["violations"]:
                if fault["impact"] in ("serious", "critical"):
                    places = [node["html"][:120] for node in fault["nodes"][:3]]
                    found.append(f"{address.rpartition('/')[2]}: {fault['id']}, {fault['help']}: {places}")
        context.close()
        return found

    return run


both_widths = pytest.mark.parametrize("width", (1280, 390))
both_schemes = pytest.mark.parametrize("scheme", ("light", "dark"))


@both_schemes
@both_widths
@pytest.mark.parametrize("name, views", [("one", VIEWS), ("two", VIEWS[:2]), ("bare", VIEWS[:1])])
def test_every_view_of_the_page(audit, pages, name, views, width, scheme):
    address = (pages / f"{name}.html").as_uri()
    assert audit([f"{address}#{view}" for view in views], "html[data-drawn]", width, scheme) == []


@both_schemes
@both_widths
def test_playing(audit, model_of, width, scheme):
    player = Player(model_of(TEXT, recall=[2], recall_slots=64))
    passage = player.read({"serial": 0, "text": TEXT})["passage"]
    page = build_page([{"name": "by hand", "passage": passage}], play={"neurons": 4, "text": TEXT})

    def silence(tab):
        tab.get_by_role("button", name="Silence neuron 2", exact=True).click()
        tab.get_by_text("bits from silenced neurons").wait_for()

    with LocalServer(page, {"read": player.read, "write": player.write}) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        views = [f"{server.url}#{view}" for view in VIEWS[:4]]
        found = audit(views, ".play textarea[data-drawn]", width, scheme, silence)
        server.shutdown()
        thread.join(5)
    assert found == []


@both_schemes
@both_widths
def test_the_site_of_the_docs(audit, width, scheme):
    if not (SITE / "index.html").exists():
        pytest.skip("the site is not built; `make docs` builds it")
    assert audit([(SITE / f"{page}.html").as_uri() for page in PAGES], "body", width, scheme) == []
