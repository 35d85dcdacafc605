"""Pictures of a run's pages for the docs, one of them animated: needs a Chromium.

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
    "look-passage": ("passage", (1280, 800), "light", 80),
    "look-neuron": ("neuron-0", (1280, 800), "dark", 80),
    "look-narrow": ("passage", (390, 844), "dark", 80),
    "inside-capital": ("passage", (1280, 840), "light", 23),
    "inside-neuron": ("neuron-1", (1280, 1180), "light", 23),
    "inside-connections": ("connections", (1280, 800), "light", 23),
}
"""File -> view, size of the window, colours, the symbol that is looked at."""
TEXT = "set.\n\nNew in version 3.9.\n\n"
PLAYED = {"inside-play": None, "inside-silenced": 1}
"""File -> the neuron that is silenced while the text is read."""
TYPED = "Return the number of items in the dictionary."
FILM = [
    *((end, None, 160) for end in range(5, len(TYPED), 5)),
    (None, None, 1500),
    *((None, n, 1100) for n in (1, 4, 7)),
]
"""Of the animation: how much of the text has been typed, which neuron is silenced as well, milliseconds."""


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
                    tab = playing(chromium, server.url, (1280, 960))
                    if silent is not None:
                        silence(tab, silent)
                    keep(tab, Path(folder) / f"{name}.png")
                    tab.close()
                film(playing(chromium, server.url, (1000, 860)), Path(folder) / "silence.gif")
            finally:
                server.shutdown()
                serving.join()


def playing(chromium: Any, url: str, size: tuple[int, int]) -> Any:
    tab = chromium.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    tab.goto(url)
    tab.wait_for_selector(".play textarea[data-drawn]")
    return tab


def silence(tab: Any, neuron: int) -> None:
    before = tab.locator(".play output").inner_text()
    tab.get_by_role("button", name=f"Silence neuron {neuron}", exact=True).click()
    tab.wait_for_function("(before) => document.querySelector('.play output').innerText !== before", arg=before)


def film(tab: Any, path: Path) -> None:
    """An animation of `FILM`: a text is typed, then neurons are silenced and its cost rises."""
    frames = []
    for end, neuron, _ in FILM:
        if neuron is None:
            tab.locator(".play textarea").fill(TYPED[:end])
            tab.wait_for_function("(n) => document.querySelector('.play textarea').dataset.drawn.length === n",
                                  arg=len(TYPED[:end]))  # fmt: skip
        else:
            silence(tab, neuron)
        tab.wait_for_timeout(200)
        frames.append(Image.open(BytesIO(tab.screenshot(clip={"x": 0, "y": 0, "width": 1000, "height": 760}))))
    both = Image.new("RGB", (1000, 1520))
    for i, frame in enumerate((frames[-1], frames[len(frames) // 2])):
        both.paste(frame, (0, 760 * i))
    colours = both.quantize(256, Image.Quantize.MAXCOVERAGE)
    frames = [frame.convert("RGB").quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames]
    times = [time for _, _, time in FILM]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[*times[:-1], 2600], loop=0, optimize=True)


def keep(tab: Any, path: Path) -> None:
    """The picture, smaller by half and alike to the eye."""
    tab.wait_for_timeout(300)
    image = Image.open(BytesIO(tab.screenshot())).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
