"""Playing in a headless Chromium: type, see, silence, let it write."""

from __future__ import annotations

import re
from threading import Thread

import pytest

from inn.explorer.page import build_page
from inn.explorer.player import Player
from inn.explorer.server import LocalServer

pytestmark = pytest.mark.loopback

TEXT = "the cat sat on the mat and "


@pytest.fixture
def server(model_of):
    player = Player(model_of(TEXT, recall=[2], recall_slots=64))
    passage = player.read({"serial": 0, "text": TEXT})["passage"]
    page = build_page([{"name": "by hand", "passage": passage}], play={"neurons": 4, "text": TEXT})
    with LocalServer(page, {"read": player.read, "write": player.write}) as one:
        thread = Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join(5)


@pytest.fixture
def page(chromium, server):
    faults = []
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("request", lambda r: r.url.startswith((server.url, "blob:", "data:")) or faults.append(r.url))
    page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.goto(server.url)
    drawn(page, TEXT)
    yield page
    context.close()
    assert faults == []


def drawn(page, text):
    """Wait until the picture is that of this text."""
    page.wait_for_function("(text) => document.querySelector('.play textarea')?.dataset.drawn === text", arg=text)


def test_a_person_types_silences_and_lets_it_write(page):
    text, bits = page.locator(".play textarea"), page.locator(".play output")
    assert page.locator(".text span").count() == len(TEXT)
    whole = bits.inner_text()
    assert re.fullmatch(r"\d\.\d+ bits per character", whole)

    page.keyboard.press("Control+End")
    page.keyboard.type("the")
    drawn(page, TEXT + "the")
    assert page.locator(".text span").count() == len(TEXT) + 3
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"  # drawing anew leaves the cursor where it is

    text.fill(TEXT)
    drawn(page, TEXT)
    page.get_by_role("button", name="Silence neuron 2", exact=True).click()
    page.wait_for_function("() => document.querySelector('.play output').textContent.includes('bits from silenced neurons')")
    assert bits.inner_text() != whole
    page.get_by_role("button", name="Silence neuron 2", exact=True).click()
    page.wait_for_function("(whole) => document.querySelector('.play output').textContent === whole", arg=whole)

    page.get_by_role("button", name="Let it write").click()
    page.wait_for_function("(n) => document.querySelector('.play textarea').value.length >= n", arg=len(TEXT) + 200)
    page.get_by_role("button", name="Let it write").wait_for()
    written = text.input_value()
    assert written.startswith(TEXT)
    assert len(written) == len(TEXT) + 200
    drawn(page, written)


def test_what_the_model_does_not_know_is_said_and_does_nothing(page):
    page.locator(".play textarea").fill("the <script>alert(1)</script> cat")
    page.wait_for_function("() => document.querySelector('.play .note[role]').textContent.includes('left out')")
    assert page.locator(".text script").count() == 0
    page.locator(".play textarea").fill("")
    page.wait_for_function("() => document.querySelector('.play output').textContent === 'Type at least 2 characters'")
