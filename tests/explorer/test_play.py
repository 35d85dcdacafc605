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
    player = Player(model_of(TEXT, recall=[2], slots=64))
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
    page.wait_for_function(
        "() => document.querySelector('.play output').textContent.includes('bits from silenced neurons')"
    )
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


def test_an_older_reading_that_is_ready_late_is_not_shown(page):
    page.evaluate("""() => {
        const unpack = Response.prototype.arrayBuffer, first = new Promise((go) => { window.release = go; });
        Response.prototype.arrayBuffer = async function () {
            if (!window.held) { window.held = true; await first; }
            return unpack.call(this);
        };
    }""")
    page.keyboard.press("Control+End")
    page.keyboard.type("t")
    page.wait_for_function("() => window.held")
    page.keyboard.type("h")
    drawn(page, TEXT + "th")
    page.evaluate("async () => { release(); await new Promise(requestAnimationFrame); }")
    assert page.locator(".text span").count() == len(TEXT) + 2
    assert page.evaluate("document.querySelector('.play textarea').dataset.drawn") == TEXT + "th"


def test_what_the_model_does_not_know_is_said_and_does_nothing(page):
    page.locator(".play textarea").fill("the <script>alert(1)</script> cat")
    page.wait_for_function("() => document.querySelector('.play .note[role]').textContent.includes('left out')")
    assert page.locator(".text script").count() == 0
    page.locator(".play textarea").fill("")
    page.wait_for_function("() => document.querySelector('.play output').textContent === 'Type at least 2 characters'")


def test_what_was_typed_and_chosen_survives_a_reload(page):
    page.locator(".play textarea").fill("the mat")
    page.get_by_role("button", name="Silence neuron 2", exact=True).click()
    page.get_by_label("temperature").fill("1.2")
    assert page.locator(".choice .number").first.text_content() == "1.2"
    page.wait_for_function("() => document.querySelector('.play output').textContent.includes('silenced')")
    said = page.locator(".play output").inner_text()
    page.reload()
    drawn(page, "the mat")
    assert page.get_by_role("button", name="Silence neuron 2", exact=True).get_attribute("aria-pressed") == "true"
    assert page.locator(".play output").inner_text() == said
    assert page.get_by_label("temperature").input_value() == "1.2"


def test_without_a_text_nothing_old_is_shown(page):
    page.evaluate("location.hash = 'neurons'")
    page.wait_for_selector("table")
    page.locator(".play textarea").fill("t")
    page.wait_for_selector("main:has-text('Type at least 2 characters')")
    assert page.locator("table, canvas").count() == 0
    page.locator(".play textarea").fill("the")
    drawn(page, "the")
    assert page.locator("table").count() == 1


def test_of_two_pages_the_one_in_use_is_answered(page, server):
    other = page.context.new_page()
    other.goto(server.url)
    drawn(other, TEXT)
    page.locator(".play textarea").fill("the cat")
    drawn(page, "the cat")
    other.locator(".play textarea").fill("the mat")
    drawn(other, "the mat")
