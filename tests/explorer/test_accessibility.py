"""The page and the page of `inn play` under axe-core, an automated audit of accessibility."""

from __future__ import annotations

from threading import Thread

import pytest

from inn.explorer.page import build_page
from inn.explorer.player import Player
from inn.explorer.server import LocalServer

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

VIEWS = ("passage", "neurons", "neuron-1", "connections", "training", "samples")
TEXT = "the cat sat on the mat and 猫 🐈 "


both_widths = pytest.mark.parametrize("width", [1280, 390])
both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


@both_schemes
@both_widths
@pytest.mark.parametrize("name, views", [("one", VIEWS), ("two", VIEWS[:2]), ("bare", VIEWS[:1])])
def test_every_view_of_the_page(audit, pages, name, views, width, scheme):
    address = (pages / f"{name}.html").as_uri()
    assert audit([f"{address}#{view}" for view in views], "html[data-drawn]", width, scheme) == []


@both_schemes
@both_widths
def test_playing(audit, model_of, width, scheme):
    player = Player(model_of(TEXT, recall=[2], slots=64))
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
