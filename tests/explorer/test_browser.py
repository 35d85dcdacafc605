"""The page in a headless Chromium, offline: it opens, follows, obeys the keyboard, and does nothing else."""

from __future__ import annotations

import csv
import math
import re
from xml.etree import ElementTree

import pytest

from inn.explorer.passage import read_passage

SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
VIEWS = ["passage", "neurons", "connections", "training", "samples"]


@pytest.fixture
def visit(tab, pages):
    """`visit("one", "neurons")` opens a page; a request, an error or a dialog fails the test."""

    def listen(page, faults):
        page.on("request", lambda r: r.url.startswith(("file:", "blob:", "data:")) or faults.append(r.url))
        page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))

    def open_page(name, view="", size="wide", **options):
        return tab(pages / f"{name}.html", view, *SIZES[size], listen, **options)

    return open_page


def drawn(page):
    """Waits for two frames: a page draws what was asked of it in the next one."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page, title="Who hears whom"):
    """The pixels of a figure, drawn."""
    drawn(page)
    return page.evaluate(
        "(title) => [...document.querySelectorAll('figure')].find((f) => f.querySelector('h3').textContent === title)"
        ".querySelector('canvas').toDataURL()",
        title,
    )


def place(page):
    return int(page.locator("#transport input").input_value())


@pytest.mark.parametrize("name", ["one", "two", "many", "task", "bare"])
@pytest.mark.parametrize("size, scheme", [("wide", "light"), pytest.param("narrow", "dark", marks=pytest.mark.slow)])
def test_every_view_opens(visit, name, size, scheme):
    page = visit(name, size=size, color_scheme=scheme)
    links = page.locator("nav a")
    assert [text.lower() for text in links.all_text_contents()] == (VIEWS if name != "bare" else VIEWS[:2])
    for view in [text.lower() for text in links.all_text_contents()] + ["neuron-1"]:
        page.evaluate("(hash) => { location.hash = hash }", view)
        page.wait_for_selector(f"nav a[href='#{view}'][aria-current]" if view in VIEWS else ".title h2")
        assert page.locator("main figure, main .block").count() > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        # Nothing is drawn outside of its canvas, and no canvas is empty.
        assert page.evaluate("[...document.querySelectorAll('canvas')].every((c) => c.width > 0 && c.height > 0)")


def test_the_slider_moves_and_the_pictures_follow(visit):
    page = visit("one")
    before, text = picture(page), page.locator(".text .now").get_attribute("data-at")
    page.locator("#transport input").fill("7")
    assert picture(page) != before
    assert (text, page.locator(".text .now").get_attribute("data-at")) == ("0", "7")
    assert page.locator("#transport input").get_attribute("aria-valuetext").startswith("Symbol 8 of ")
    page.locator(".text span[data-at='12']").click()
    drawn(page)
    assert place(page) == 12


def test_what_it_shows_at_a_symbol_is_what_was_recorded(visit, pages):
    page = visit("one")
    facts = page.evaluate("JSON.parse(document.getElementById('data').textContent).runs[0].passage")
    page.locator("#transport input").fill("5")
    drawn(page)
    label = facts["labels"][facts["ids"][5]]
    assert page.locator(".read .symbol").text_content() == label
    assert page.locator(".read").text_content().endswith(f"a surprise of {facts['bits'][5]:.2f} bits")
    shown = page.locator(".expected li:visible .symbol").all_text_contents()
    assert shown[:5] == [facts["labels"][i] for i in facts["top"]["ids"][25:30]]
    came = page.locator(".expected li.true:visible .symbol").all_text_contents()
    assert came == [facts["labels"][facts["ids"][6]]]


def test_the_keyboard_is_enough(visit):
    page = visit("one")
    for key, at in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("PageDown", 1)):
        page.keyboard.press(key)
        drawn(page)
        assert place(page) == at  # the page's own keys scroll the page
    page.locator(".text").focus()
    page.keyboard.press("End")
    drawn(page)
    assert place(page) == int(page.locator("#transport input").get_attribute("max"))
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Pause").count() == 1
    page.wait_for_selector(".text .now[data-at='2']")
    page.keyboard.press("Space")
    drawn(page)
    stopped = place(page)
    page.wait_for_timeout(450)
    assert place(page) == stopped
    page.keyboard.press("Tab")
    reached = []
    for _ in range(40):
        reached.append(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none" or "BODY" in reached[-1]
        page.keyboard.press("Tab")
    assert {"SELECT.", "SUMMARY.", "INPUT.", "BUTTON."} <= set(reached)


def test_a_neuron_page_opens_and_escape_leaves_it(visit):
    page = visit("one", "neurons")
    page.get_by_role("link", name="neuron 2").click()
    page.wait_for_selector("h2:text('neuron 2')")
    assert "It listens most to neuron 0 (50\u202f% of what it hears)." in page.locator(".lead").text_content()
    titles = page.locator("h3").all_text_contents()
    for title in ("Where it is most active", "Cost of silencing it", "What it knows about",
                  "Whom it hears, who hears it", "What it predicts by itself", "How long it remembers",
                  "Its n-gram cache"):  # fmt: skip
        assert title in titles
    page.get_by_role("link", name="next →").click()
    page.wait_for_selector("h2:text('neuron 3')")
    page.keyboard.press("Escape")
    page.wait_for_selector("nav a[href='#neurons'][aria-current]")
    page.evaluate("location.hash = 'neuron-99'")
    page.wait_for_selector("text=This run has 4 neurons; the last one is 3.")


def test_hostile_text_is_text(visit, hostile):
    page = visit("one")
    assert page.locator("h1").text_content() == hostile
    for view in [*VIEWS, "neuron-0"]:
        page.evaluate("(hash) => { location.hash = hash }", view)
        page.wait_for_timeout(30)
        assert page.locator("img, main script, header script, footer script").count() == 0
    assert hostile.replace("\n", "⏎") in page.locator(".contexts").text_content()
    page.evaluate("location.hash = 'samples'")
    page.wait_for_selector(".written")
    assert page.locator(".written.latest").text_content() == "</script><script>alert(1)</script>"


def test_light_and_dark(visit):
    def back(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit("one", color_scheme="light"), visit("one", color_scheme="dark")
    assert back(light) != back(dark)
    assert picture(light) != picture(dark)
    light.get_by_role("button", name="Colours: auto").click()
    light.get_by_role("button", name="Colours: light").click()
    assert back(light) == back(dark)
    assert picture(light) == picture(dark)


def test_two_runs_move_together(visit):
    page = visit("two")
    page.locator("#transport input").fill("9")
    drawn(page)
    assert page.locator("section.run").count() == 2
    assert [s.get_attribute("data-at") for s in page.locator(".text .now").all()] == ["9", "9"]


def test_pictures_and_tables_are_saved(visit, tmp_path):
    page = visit("one", "neurons", accept_downloads=True)
    saved = {}
    for kind in ("PNG", "SVG", "CSV"):
        page.locator("figure summary").first.click()
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save as {kind}").first.click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    assert saved["PNG"].read_bytes().startswith(b"\x89PNG")
    svg = ElementTree.fromstring(saved["SVG"].read_text())
    assert "neuron 3" in [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    rows = list(csv.reader(saved["CSV"].open()))
    assert rows[0] == ["neuron", "bits", "low", "high"]
    assert len(rows) == 5
    page.evaluate("location.hash = 'connections'")
    page.wait_for_selector("nav a[href='#connections'][aria-current]")
    page.locator("figure summary").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as SVG").first.click()
    download.value.save_as(tmp_path / "maps.svg")
    maps = ElementTree.parse(tmp_path / "maps.svg").findall(".//{http://www.w3.org/2000/svg}image")
    assert len(maps) == 3  # two rounds, and the key to the colours
    assert all(image.get("href").startswith("data:image/png;base64,") for image in maps)
    page.evaluate("location.hash = 'training'")
    page.wait_for_selector("text=Settings")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "settings.csv")
    assert not re.search(r"(^|[,\"])[=+@]", (tmp_path / "settings.csv").read_text(), re.MULTILINE)


def test_pictures_have_words_and_numbers(visit):
    page = visit("one")
    for canvas in page.locator("canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label")) > 20
    page.locator("figure summary").first.click()
    page.get_by_role("button", name="Show the numbers").first.click()
    assert page.locator(".numbers:visible thead th").all_text_contents() == ["round", "neuron", "hears", "share"]
    page.keyboard.press("Escape")
    page.locator("#transport input").fill("3")
    page.wait_for_timeout(700)
    assert page.locator("#said").text_content().startswith("Symbol 4 of ")
    unnamed = (
        "[...document.querySelectorAll('button, select, input, summary, a')]"
        ".filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label'))).length"
    )
    assert page.evaluate(unnamed) == 0


def test_another_passage_takes_the_place_of_one(visit, model_of):
    model = model_of("abc ", neurons=4)
    facts = read_passage(model, model.vocabulary.encode("cab a cab"))
    page = visit("one")
    page.locator("#transport input").fill("12")
    before = picture(page)
    page.evaluate("(facts) => inn.render(facts)", facts)
    assert page.locator(".text").text_content() == "cab a cab"
    assert picture(page) != before
    assert place(page) == 8


def test_who_asks_for_less_motion_gets_a_slow_start(visit):
    assert visit("one", reduced_motion="reduce").locator("#transport select").input_value() == "2"
    assert visit("one", reduced_motion="no-preference").locator("#transport select").input_value() == "5"


def test_sequences_of_a_task_say_what_was_to_be_told(visit):
    page = visit("task")
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    drawn(page)
    moment = page.locator(".moment")
    assert "step 9 of its sequence" in moment.inner_text()
    assert "to be told" in moment.inner_text()
    assert moment.locator("li.true").count() == 1
    page.keyboard.press("ArrowLeft")
    drawn(page)
    assert "nothing is to be told here" in moment.inner_text()


def test_a_large_graph_shows_groups_first_and_then_the_neurons_of_one(visit):
    page = visit("large")
    show = page.locator("main figure select").first
    assert show.locator("option").first.text_content() == "all 20 groups"
    whole = picture(page)
    page.locator("#transport input").fill("7")
    assert picture(page) != whole
    page.locator(".spots a").nth(3).focus()
    page.keyboard.press("Enter")
    drawn(page)
    members = page.locator(".spots a")
    assert members.count() == 16
    assert members.first.get_attribute("href") != "#neuron-0"
    assert page.locator("main figure select").first.input_value() == "3"
    assert picture(page) != whole

    def active(group):
        page.locator("main figure select").first.select_option(group)
        drawn(page)
        page.locator(".spots a").first.focus()
        return page.locator(".spots a").first.get_attribute("aria-label").split("activity by round ")[1]

    assert active("3") != active("5")  # other neurons, not only other names
    page.locator("main figure select").first.select_option("")
    drawn(page)
    assert page.locator(".spots a").count() == 20


def test_a_table_tells_how_often_neurons_act(visit):
    page = visit("large", "neurons")
    drawn(page)
    heads = page.locator("table.data thead th").all_text_contents()
    assert heads[:3] == ["neuron", "group", "acts"]
    shares = page.locator("table.data tbody tr td:nth-child(3)").all_text_contents()
    assert len(shares) == 320
    assert all(share.endswith("%") for share in shares)


def test_connections_of_a_large_graph_are_those_of_groups(visit):
    page = visit("large", "connections")
    drawn(page)
    said = page.locator("main canvas").first.get_attribute("aria-label")
    assert "hears group" in said


def test_the_wiring_is_drawn_with_a_key(visit):
    page = visit("wired", "connections")
    drawn(page)
    figure = page.locator("figure").first
    assert figure.locator("h3").text_content() == "The wiring"
    said = figure.locator("canvas").first.get_attribute("aria-label")
    assert "Since the start 2 edges went and 10 others came. 3 neurons (▲) take the input in." in said
    select = figure.locator("select")
    assert select.locator("option").all_text_contents() == ["groups", "what changed", "lags", "signs", "strength"]
    pictures = {picture(page, "The wiring")}
    for way in ("what changed", "lags", "signs", "strength"):
        select.select_option(way)
        pictures.add(picture(page, "The wiring"))
    assert len(pictures) == 5
    written = page.evaluate(
        """() => { const said = [], write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text) { said.push(text); };
        const select = document.querySelector("figure select");
        for (const way of ["what changed", "lags"]) { select.value = way; select.dispatchEvent(new Event("change")); }
        CanvasRenderingContext2D.prototype.fillText = write;
        return said; }"""
    )
    assert {"new since the start (10)", "gone since the start (2)", "takes 2 steps (15)", "is read out"} <= {*written}


def test_a_neuron_of_the_wiring_is_singled_out_and_opened(visit):
    page = visit("wired", "connections")
    before = picture(page, "The wiring")
    canvas = page.locator("figure canvas").first
    box = canvas.bounding_box()
    turn = 2 * math.pi * 1.5 / 26  # neuron 0 is the second of 24 places and two gaps, clockwise from the top
    top = {"x": box["width"] / 2 + 284 * math.sin(turn), "y": 310 - 284 * math.cos(turn)}
    canvas.hover(position=top)
    assert picture(page, "The wiring") != before
    canvas.click(position=top)
    page.wait_for_url("**#neuron-0")


def test_there_is_no_ring_where_all_hear_all_or_neurons_are_many(visit):
    assert "The wiring" not in visit("one", "connections").locator("h3").all_text_contents()
    page = visit("large", "connections")
    assert "The wiring" not in page.locator("figure h3").all_text_contents()
    assert "Topology groups: 6,080 of 102,400 edges" in page.locator("main").text_content()


def test_a_table_tells_who_takes_the_input_in_and_who_is_read_out(visit):
    page = visit("wired", "neurons")
    column = page.locator("table.data thead th").all_text_contents().index("part") + 1
    parts = page.locator(f"table.data tbody tr td:nth-child({column})").all_text_contents()
    assert [parts[n] for n in (0, 2, 3, 22)] == ["takes in", "takes in, read out", "inner", "read out"]
