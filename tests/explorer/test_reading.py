"""What a person reads off the page: colours from zero, who is silenced, text of any script, on a phone and on paper."""

from __future__ import annotations

import pytest

from inn.explorer.passage import read_passage

CHINESE = "猫が 🐈‍⬛ 好き é\n"


@pytest.fixture
def look(model_of, survey_of):
    model = model_of("abc ")
    passage = read_passage(model, model.vocabulary.encode("cab a cab"))
    return {"name": "by hand", "passage": passage, "survey": survey_of(4, 2), "play": "inn play runs/demo"}


def colours(page, title):
    """The colours of a figure's first heat map, at the middle of each cell of its first row."""
    return page.evaluate(
        """(title) => {
  const canvas = [...document.querySelectorAll('figure')].find((f) => f.querySelector('h3').textContent === title)
    .querySelector('canvas'), ctx = canvas.getContext('2d'), side = Math.min(340, (canvas.width - 26 - 22) / 2);
  return [0, 1, 2, 3].map((n) => [...ctx.getImageData(26 + (n + 0.5) * side / 4, 22 + side / 8, 1, 1).data].join());
}""",
        title,
    )


def test_small_differences_look_small(opened, look):
    title = "Who listens to whom, on average"
    look["survey"]["connectivity"] = [[[0.26, 0.25, 0.24, 0.25]] * 4] * 2
    page = opened(look, "connections")

    def distance(cells):
        first, second = ([int(v) for v in cells[n].split(",")] for n in (0, 2))
        return sum(abs(a - b) for a, b in zip(first, second))

    from_zero = distance(colours(page, title))
    assert "each share would be 25\u202f%" in page.locator("figure .note").first.text_content()
    page.get_by_label("exaggerate differences").check()
    assert distance(colours(page, title)) > 5 * from_zero > 0


def test_silenced_neurons_are_crossed_out_everywhere(opened, look):
    look = {**look, "survey": None}
    plain = opened(look)
    assert "silenced" not in plain.locator("main").text_content().replace("silence neurons", "")
    before = plain.evaluate("document.querySelector('canvas').toDataURL()")
    page = opened({**look, "passage": {**look["passage"], "silenced": [2]}})
    assert page.evaluate("document.querySelector('canvas').toDataURL()") != before
    assert "Crossed out: silenced, 2." in page.locator("main").text_content()
    page.evaluate("location.hash = 'neurons'")
    page.wait_for_selector("text=heard by others >> visible=true", state="detached")
    assert page.locator("tbody tr", has_text="neuron 2").locator("td").first.text_content() == "silenced"
    page.evaluate("location.hash = 'connections'")
    page.wait_for_selector("text=Grey: silenced.")


def test_the_neurons_of_the_graph_are_reached_by_keyboard(opened, look):
    page = opened(look)
    page.locator(".text").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "spot":
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Neuron 0: activity by round ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")  # the text is still gone through
    page.wait_for_selector(".text .now[data-at='1']")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:text('neuron 2')")


def test_it_says_what_is_seen_and_how_to_play(opened, look):
    page = opened(look)
    for view in ("passage", "neurons", "connections", "neuron-1"):
        page.evaluate("(hash) => { location.hash = hash }", view)
        page.wait_for_timeout(30)
        assert page.locator(".seen").text_content().startswith("What you see here: ")
    page.evaluate("location.hash = 'passage'")
    page.wait_for_selector(".seen code")
    assert page.locator(".seen code").text_content() == "inn play runs/demo"
    assert "inn eval" in page.locator("footer").text_content()  # why a model has several numbers


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_text_of_any_script(opened, model_of, kind):
    model = model_of(CHINESE, kind)
    page = opened({"name": "猫", "passage": read_passage(model, model.vocabulary.encode(CHINESE))})
    text = page.locator(".text").text_content()
    assert text.replace("·", "") == CHINESE.replace("\n", "⏎\n").replace("\u200d", "")
    assert "\\x" not in text
    brief = page.evaluate("getComputedStyle(document.querySelector('.text')).direction")
    assert brief == "ltr"


def test_a_wide_table_on_a_phone_says_that_it_scrolls(opened, look):
    page = opened(look, "neurons", width=390)
    assert page.locator(".hint").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened(look, "neurons").locator(".hint").is_hidden()


def test_targets_are_large_enough(opened, look):
    for view in ("passage", "neurons", "connections", "neuron-1"):
        page = opened(look, view, width=390)
        small = page.evaluate(
            """() => [...document.querySelectorAll('a, button, select, summary, input[type=range]')]
  .filter((e) => e.checkVisibility() && !e.closest('.skip, footer, p'))
  .map((e) => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])
  .filter(([, box]) => box.width < 24 || box.height < 24).map(([text, box]) => `${text} ${box.width}x${box.height}`)"""
        )
        assert small == []


def test_paper_is_light_and_shows_all_of_the_text(opened, look):
    page = opened(look, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_timeout(100)
    style = "getComputedStyle(document.querySelector('.text'))"
    assert page.evaluate(f"{style}.maxHeight") == "none"
    assert page.evaluate(f"{style}.color") == "rgb(28, 33, 38)"
    assert page.locator("h2").is_visible()  # in place of the tabs
    assert page.locator(".moment h3").text_content() == "At character 1 of 9"  # in place of the slider
