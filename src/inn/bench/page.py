"""What a page costs to open and to move through, in a real browser; needs playwright and a Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inn.bench.rows import Skipped

if TYPE_CHECKING:
    from playwright.sync_api import Browser  # pyright: ignore[reportMissingImports]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
FRAMES = 120

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
