"""The export `web`: a page from disk, in a headless Chromium, with the model inside and no network."""

from __future__ import annotations

import re

import pytest

import inn
from inn.cli.main import main
from inn.config.exports import WebOptions
from inn.data.vocabulary import build_vocabulary
from inn.explorer.player import Player
from inn.export.web.page import live_model
from inn.export.web.wasm import why_not
from inn.system.errors import InputError

TEXT = "Return the name of the module and the "


def bits_of(page) -> float:
    return float(page.locator(".play output").inner_text().split()[0])


def drawn(page, text):
    """Wait until the picture is that of this text."""
    page.locator(f".play textarea[data-drawn={text!r}]".replace("'", '"')).wait_for(state="attached")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["javascript", pytest.param("webassembly", marks=pytest.mark.slow)])
def test_a_person_plays_without_python(run, tmp_path, chromium, form):
    from playwright.sync_api import expect

    int8 = form == "webassembly"  # whatever numbers are kept in, the step gets float32
    if int8 and (reason := why_not()):
        pytest.skip(f"no WebAssembly can be made here: {reason}")
    more = [] if int8 else ["--web.int8", "false", "--web.wasm", "false"]
    assert main(["export", str(run), str(tmp_path / "page"), "--to", "web", *more]) == 0
    assert ("quickened(model, given" in (tmp_path / "page" / "index.html").read_text()) == int8
    address = (tmp_path / "page" / "index.html").as_uri()
    player, faults = Player(inn.load(run)), []  # type: ignore[arg-type]

    def asked(text, **more):
        return player.read({"serial": len(text), "text": text, **more})["passage"]["mean_bits"]

    context = chromium.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page = context.new_page()
    page.on("request", lambda r: r.url.startswith(("file:", "blob:", "data:")) or faults.append(r.url))
    page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    page.locator(".play textarea").fill(TEXT)
    drawn(page, TEXT)
    close = 0.03 if int8 else 0.006  # two digits are shown
    assert bits_of(page) == pytest.approx(asked(TEXT), abs=close)
    page.get_by_role("button", name="Silence neuron 1", exact=True).click()
    page.locator(".play output span").wait_for()
    assert bits_of(page) == pytest.approx(asked(TEXT, silenced=[1]), abs=close)
    page.get_by_role("button", name="Silence neuron 1", exact=True).click()
    page.locator(".play output span").wait_for(state="detached")

    page.get_by_role("button", name="Copy a link").click()
    page.goto(f"{address}#play?text={TEXT.replace(' ', '+')}&closed=0-1&without=9.x")
    page.reload()
    page.locator(".play output span").wait_for()
    assert bits_of(page) == pytest.approx(asked(TEXT, closed=[[0, 1]]), abs=close)
    assert "closed edges" in page.locator(".play output").inner_text()

    page.get_by_role("button", name="Let it write").click()  # which is "Stop" meanwhile, for a moment
    expect(page.locator(".play textarea")).to_have_value(re.compile(rf"^[\s\S]{{{len(TEXT) + 200}}}$"), timeout=30_000)
    page.get_by_role("button", name="Let it write").wait_for()
    written = page.locator(".play textarea").input_value()
    assert written.startswith(TEXT)
    assert len(written) == len(TEXT) + 200
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save a picture").click()
    assert saved.value.suggested_filename == "what-it-read.png"
    context.close()
    assert faults == []


def test_what_a_page_cannot_read_is_refused():
    model = inn.INN(vocab=6, neurons=2, width=8, rounds=1, recall="none").eval()
    model.vocabulary = build_vocabulary("words", "a b c d")
    with pytest.raises(InputError, match=re.escape("this model has vocabulary 'words'; export it --to onnx")):
        live_model(model, WebOptions())
