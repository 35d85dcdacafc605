"""Pictures of a run's pages for the docs: needs a Chromium.

inn look runs/demo
python tests/explorer/screenshots.py runs/demo docs/images
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

from PIL import Image

from inn.explorer.play import serve
from inn_benchmarks.page import browser

PICTURES = {
    "look-passage": ("passage", (1280, 800), "light", 130),
    "look-neuron": ("neuron-0", (1280, 800), "dark", 130),
    "look-narrow": ("passage", (390, 844), "dark", 130),
    "inside-capital": ("passage", (1280, 720), "light", 73),
    "inside-neuron": ("neuron-1", (1280, 1180), "light", 73),
    "inside-connections": ("connections", (1280, 800), "light", 73),
}
"""File -> view, size of the window, colours, the symbol that is looked at."""
TEXT = "set.\n\nNew in version 3.9.\n\n"
PLAYED = {"inside-play": None, "inside-silenced": 1}
"""File -> the neuron that is silenced while the text is read."""


def main(run: str, folder: str) -> None:
    """Write every picture of a run's page, and of playing with it, into `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        for name, (view, (width, height), scheme, place) in PICTURES.items():
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            tab = context.new_page()
            tab.goto(f"{(Path(run) / 'page.html').absolute().as_uri()}#{view}")
            tab.wait_for_selector("html[data-drawn]", state="attached")
            if tab.locator("#transport input").is_visible():
                tab.locator("#transport input").fill(str(place))
                tab.locator("#transport input").blur()
            keep(tab, Path(folder) / f"{name}.png")
            context.close()
        with serve(run, text=TEXT) as server:
            serving = Thread(target=server.serve_forever)
            serving.start()
            try:
                for name, silent in PLAYED.items():
                    tab = chromium.new_page(viewport={"width": 1280, "height": 720}, color_scheme="light")
                    tab.goto(server.url)
                    tab.wait_for_selector(".play textarea[data-drawn]")
                    if silent is not None:
                        tab.get_by_role("button", name=f"Silence neuron {silent}", exact=True).click()
                        tab.get_by_text("by silence").wait_for()
                    keep(tab, Path(folder) / f"{name}.png")
                    tab.close()
            finally:
                server.shutdown()
                serving.join()


def keep(tab: Any, path: Path) -> None:
    """The picture, smaller by half and alike to the eye."""
    tab.wait_for_timeout(300)
    Image.open(BytesIO(tab.screenshot())).quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
