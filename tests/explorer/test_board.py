"""The board of a task whose symbols are somebody's steps, and the controls under pictures of edges."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np
import pytest
import torch

from inn import INN
from inn.analysis import shuffled_sources
from inn.data.examples import Examples
from inn.data.names import Names
from inn.data.tasks.base import task
from inn.explorer.examples import read_examples
from inn.explorer.passage import read_passage

BOARD = "Who takes whose step"


def machines(**fields):
    """A model of three machines and sequences that it read: with the addresses known, neuron 2 - m takes machine m."""
    data = task("machines", machines=3, examples=20)
    torch.manual_seed(0)
    model = INN(vocab=len(data.names), neurons=3, width=4, rounds=1, router="none", recall="none", **fields).eval()
    model.vocabulary = Names(data.names)
    examples = data.part("test")
    assert examples is not None
    return read_examples(model, examples, actors=data.actors), examples


def owned():
    table = [0] * 6 + [2 - m for m in range(3) for _ in range(6)]
    return machines(gate="address", gate_options={"table": table})


def figure(page, title):
    return page.locator("figure").filter(has=page.get_by_role("heading", name=title, exact=True))


def test_the_cast_is_whose_step_each_symbol_is():
    passage, examples = owned()
    of = [None if symbol < 6 else (symbol - 6) // 6 for symbol in examples.inputs.tolist()]
    assert passage["cast"] == {"names": ["m0", "m1", "m2"], "of": of}
    model = INN(vocab=2, neurons=1, width=4, rounds=1, recall="none").eval()
    model.vocabulary = Names(["0", "1"])
    assert "cast" not in read_examples(model, Examples.equal(np.zeros((1, 4), int), np.zeros((1, 4), int)))


def test_a_neuron_lights_up_when_its_machine_moves(opened):
    passage, _ = owned()
    board = figure(page := opened({"passage": passage}, "passage", width=390), BOARD)
    for t in (0, 1, 40):
        page.locator("#transport input").fill(str(t))
        m = passage["cast"]["of"][t]
        page.wait_for_function(
            "(says) => [...document.querySelectorAll('canvas')].some((c) => c.ariaLabel?.endsWith(says))",
            arg=f"A step of m{m}, taken by neuron {2 - m}.",
        )
    said = board.locator(".control").inner_text().replace("\u202f", " ")
    whole, shuffled, high = map(int, re.findall(r"(\d+) %", said)[:3])
    assert whole == 100
    assert 33 < shuffled <= high < 80
    assert said.endswith("p = 0.01.")
    board.locator("summary").click()
    board.get_by_role("button", name="Show the numbers").click()
    rows = [row.split("\t") for row in board.locator("tbody tr").all_inner_texts()]
    assert [row[:3] for row in rows] == [[str(n), f"m{m}", str(int(n + m == 2))] for n in (2, 1, 0) for m in range(3)]


def test_without_gates_that_close_the_one_above_its_own_average_takes_the_step(opened):
    passage, _ = machines()
    raw = np.frombuffer(zlib.decompress(base64.b64decode(passage["activity"]["data"])), np.uint8).reshape(-1, 3)
    taker = int((raw[40] / raw.mean(0)).argmax())
    board = figure(page := opened({"passage": passage}, "passage", width=390), BOARD)
    page.locator("#transport input").fill("40")
    page.wait_for_timeout(100)
    assert board.locator("canvas").get_attribute("aria-label").endswith(f"taken by neuron {taker}.")
    assert "no more than chance" in board.locator(".control").inner_text() or "p = 0.0" in board.inner_text()


def test_the_control_of_a_passage_is_that_of_its_edges(opened, model_of):
    text = "the cat sat on the mat and the rat sat on the hat then the bat sat" * 5
    model = model_of(text, router="attention", heads=1)
    passage = read_passage(model, model.vocabulary.encode(text[: 16 * 12]))
    page = opened({"passage": passage}, "connections", width=390)
    words = page.locator("figure .control p")
    words.wait_for()
    routing = passage["routing"]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(routing["data"])), np.uint8).reshape(16, 12, 2, 4, 4)
    shares = torch.from_numpy(raw * (np.array(routing["scale"]) / routing["steps"])[:, None, None])
    null, _ = shuffled_sources(shares.mean(1), ~torch.eye(4, dtype=torch.bool), draws=99)
    observed, middle, high = (float(x) / 100 for x in re.findall(r"([\d.]+)\s*%", words.inner_text())[:3])
    assert observed == pytest.approx(null.observed, abs=1e-3)
    assert middle == pytest.approx(null.mean, rel=0.15)
    assert high == pytest.approx(null.high, rel=0.15)


def test_the_control_at_a_symbol_is_over_the_places_that_read_it(opened, model_of):
    text = "abcab" * 64
    model = model_of(text, router="attention", heads=1)
    page = opened({"passage": read_passage(model, model.vocabulary.encode(text))}, "passage", width=390)
    words = figure(page, "Routing at this symbol").locator(".control p")
    page.locator("#transport input").fill("2")
    page.wait_for_function("() => document.querySelector('figure .control p')?.textContent.includes('“c”')")
    assert "over the 64 characters “c” of the passage" in words.inner_text()
