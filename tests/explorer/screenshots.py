"""Pictures of a page for the docs: `python tests/explorer/screenshots.py PAGE.html docs/images`, needs a Chromium."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from inn.bench.page import browser

PICTURES = {
    "look-passage": ("passage", (1280, 800), "light"),
    "look-neuron": ("neuron-0", (1280, 800), "dark"),
    "look-narrow": ("passage", (390, 844), "dark"),
}
"""File -> view, size of the window, colours."""
PLACE = 130
"""The symbol that is looked at."""


def main(page: str, folder: str) -> None:
    """Write every picture of `page` into `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        for name, (view, (width, height), scheme) in PICTURES.items():
            context = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            tab = context.new_page()
            tab.goto(f"{Path(page).absolute().as_uri()}#{view}")
            tab.wait_for_selector("html[data-drawn]", state="attached")
            tab.locator("#transport input").fill(str(PLACE))
            tab.locator("#transport input").blur()
            tab.wait_for_timeout(200)
            picture = Image.open(BytesIO(tab.screenshot()))
            picture.quantize(256).save(Path(folder) / f"{name}.png", optimize=True)  # smaller by half, alike to the eye
            context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
