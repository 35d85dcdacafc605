"""What a page costs to open and to move through, in a real browser; needs playwright and a Chromium."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inn.data.vocabulary import build_vocabulary
from inn.explorer.page import build_page
from inn.explorer.passage import read_passage
from inn.explorer.player import Player
from inn.explorer.server import LocalServer
from inn.models.inn import INN
from inn_benchmarks.look import ScoredSize
from inn_benchmarks.rows import Measured, Skipped

if TYPE_CHECKING:
    from playwright.sync_api import Browser  # pyright: ignore[reportMissingImports]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
FRAMES = 120
LETTERS = "the quick brown fox jumps over a lazy dog "
_TYPE = """async (letters) => {
  const text = document.querySelector('.play textarea'), times = [];
  for (const letter of letters) {
    const before = performance.now();
    text.value += letter;
    text.dispatchEvent(new Event('input'));
    while (text.dataset.drawn !== text.value) await new Promise(requestAnimationFrame);
    times.push(performance.now() - before);
  }
  return times;
}"""

_MOVE = """async (frames) => {
  const slider = document.querySelector('#transport input'), frame = () => new Promise(requestAnimationFrame);
  await frame();
  const before = performance.now();
  for (let i = 0; i < frames; i++) {
    slider.value = (37 * i) % slider.max;
    slider.dispatchEvent(new Event('input'));
    await frame();
  }
  return frames / (performance.now() - before) * 1000;
}"""
_OPENED = """async () => {
  const painted = () => performance.getEntriesByName('first-contentful-paint')[0];
  while (!painted()) await new Promise((wake) => setTimeout(wake, 20));
  return {first_paint_s: painted().startTime / 1000,
  drawn_s: performance.getEntriesByName('drawn')[0].startTime / 1000};
}"""


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine; raises `Skipped` where it or playwright is missing."""
    try:
        from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Skipped("playwright is not installed; it comes with the extra [dev]") from None
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise Skipped(f"there is no Chromium here; looked for {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            started.close()


def measure_page(path: str | Path, size: tuple[int, int] = (1280, 800)) -> dict[str, float]:
    """Open a page of `inn look` from disk, offline, and move its slider: what a person waits for.

    Returns:
        `bytes` of the file, `first_paint_s` (first contentful paint) and `drawn_s` (the first pictures are there)
        since the navigation began, and `frames_per_s` over 120 moves of the slider, one per frame.

    Raises `Skipped` where there is no browser.

    Example: ``measure_page("runs/demo/page.html")["frames_per_s"]``
    """
    path = Path(path).absolute()
    with browser() as chromium:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, offline=True)
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        opened = page.evaluate(_OPENED)
        return {"bytes": path.stat().st_size, **opened, "frames_per_s": page.evaluate(_MOVE, FRAMES)}


@dataclass(frozen=True)
class PageSize:
    """The page that is measured."""

    symbols: int = 2000
    model: dict[str, Any] = field(default_factory=lambda: {"neurons": 32, "width": 16, "rounds": 6})


def page_size(size: PageSize = PageSize()) -> Measured:
    """Megabytes of the page."""
    return _of_a_page(size, lambda costs: costs["bytes"] / 1e6, openings=1)


def page_paint(size: PageSize = PageSize(), openings: int = 5) -> Measured:
    """Seconds until something is to be seen, the median of several openings."""
    return _of_a_page(size, lambda costs: costs["first_paint_s"], openings)


def page_frames(size: PageSize = PageSize(), openings: int = 5) -> Measured:
    """Pictures per second while the slider moves on with every frame, the median of several openings."""
    return _of_a_page(size, lambda costs: costs["frames_per_s"], openings)


def _of_a_page(size: PageSize, number: Callable[[dict[str, float]], float], openings: int) -> Measured:
    model = _model(**size.model)
    passage = read_passage(model, np.random.default_rng(0).integers(model.config.vocab, size=size.symbols))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(build_page([{"name": "untrained", "passage": passage}]), encoding="utf-8")
        found = [measure_page(path) for _ in range(openings)]
    c = model.config
    sizes = f"N {c.neurons}, {c.rounds} rounds, {passage['symbols']:,} symbols; headless Chromium, 1280 x 800"
    return Measured(statistics.median(map(number, found)), "float32", sizes, {"openings": found})


DEMO = ScoredSize({"neurons": 8, "width": 19, "rounds": 2}, symbols=300)


def keystroke(size: ScoredSize = DEMO, strokes: int = 40) -> Measured:
    """Milliseconds from a key pressed on the page of `inn play` to the picture that follows, the median."""
    model = _model(**size.model)
    text = (LETTERS * (1 + size.symbols // len(LETTERS)))[: size.symbols]
    player = Player(model)
    page = build_page(
        [{"name": "untrained", "passage": player.read({"serial": 0, "text": text})["passage"]}],
        play={"neurons": model.config.neurons, "text": text},
    )
    with LocalServer(page, {"read": player.read, "write": player.write}) as server, browser() as chromium:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            tab = chromium.new_page(viewport={"width": 1280, "height": 800})
            tab.goto(server.url)
            tab.wait_for_selector(".play textarea[data-drawn]")
            times = tab.evaluate(_TYPE, LETTERS[:strokes])
        finally:
            server.shutdown()
            serving.join()
    c = model.config
    sizes = (
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, after {size.symbols} symbols; headless Chromium, 1280 x 800"
    )
    return Measured(statistics.median(times), "float32", sizes, {"milliseconds": times})


def _model(**fields: Any) -> INN:
    """An untrained model of 26 letters and the space: what is shown does not change what showing costs."""
    torch.manual_seed(0)
    vocabulary = build_vocabulary("characters", LETTERS)
    model = INN(vocab=vocabulary.size, **fields).eval()
    model.vocabulary = vocabulary
    return model
