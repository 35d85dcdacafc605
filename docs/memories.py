"""Draw the impulse response of every built-in memory, as it starts, into docs/memories/NAME.svg.

python docs/memories.py               # all of them
python docs/memories.py gru elm       # some
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from inn.analysis import impulse_response
from inn.config.assemble import graph_config
from inn.nn.memory.groups import build_memory
from inn.registry import MEMORIES

FOLDER = Path(__file__).resolve().parent / "memories"
NEURONS, WIDTH, STEPS, UNITS, STREAMS = 3, 8, 1000, 3, 32
COLOURS = ("#4b8fdc", "#dd8638", "#45a06a")
GREY = "#7d8794"
LEFT, TOP, WIDE, HIGH, APART = 48, 40, 300, 150, 396
"""Places of the two panels, in pixels."""


def times() -> list[int]:
    """Every step at first, then as many for each factor."""
    return sorted({*range(1, 33), *(round(10 ** (k / 20)) for k in range(30, 61))})


def responses(kind: str) -> tuple[Tensor, Tensor]:
    """Of a memory at the start: numbers of its state after an impulse in silence, `[K, N, U]`, the largest being 1; and
    the size of what an impulse changes in the output among other inputs, `[K, N]`, the largest being 1."""
    torch.manual_seed(0)
    config = graph_config(neurons=NEURONS, width=WIDTH, rounds=1, memory=kind, router="none")
    memory = build_memory(config).double()
    drawn = torch.Generator().manual_seed(1)
    impulse = torch.randn(NEURONS, WIDTH, dtype=torch.float64, generator=drawn)
    silence = torch.zeros(1, STEPS, NEURONS, WIDTH, dtype=torch.float64)
    place = memory.place(0)
    state = silence.new_zeros(len(times()), NEURONS, 0)
    if place is not None:
        state = impulse_response(memory, silence, impulse, times()).state[place[0]][:, 0].flatten(2)
        moved = state.abs().amax((0, 1)).nonzero().flatten()  # some numbers of a state stand for nothing yet
        state = state[..., moved[torch.linspace(0, len(moved) - 1, min(UNITS, len(moved))).round().long()]]
        state = state / state.abs().amax(0).clamp_min(1e-12)
    inputs = torch.randn(STREAMS, STEPS, NEURONS, WIDTH, dtype=torch.float64, generator=drawn)
    output = impulse_response(memory, inputs, impulse, times()).output.square().mean((1, 3)).sqrt()
    return state, output / output.amax(0).clamp_min(1e-12)


def picture(kind: str) -> str:
    """The drawing, in colours that show on light and dark pages."""
    state, output = responses(kind)
    text = f"What a unit impulse leaves in memory {kind}, in its state and in its output, over 1,000 steps"
    found = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 760 236' width='760' height='236' role='img' "
        f"aria-label='{text}' font-family='system-ui,-apple-system,Segoe UI,Roboto,sans-serif'>",
        f"<title>{text}</title>",
    ]
    low = -1 if state.numel() and state.min() < -0.05 else 0
    found += panel(LEFT, "state, nothing else coming in", ["−1", "0", "1"] if low else ["0", "1"])
    found += panel(LEFT + APART, "change of the output, among other inputs", ["0.001", "0.01", "0.1", "1"])
    if not state.numel():
        found.append(label(LEFT + WIDE / 2, TOP + HIGH / 2, "no state", "middle"))
    for n in range(NEURONS):
        for u in range(state.shape[2]):
            found.append(line(LEFT, (state[:, n, u] - low) / (1 - low), COLOURS[n], 1 - 0.25 * u))
        found.append(line(LEFT + APART, 1 + output[:, n].clamp_min(1e-3).log10() / 3, COLOURS[n], 1.0))
    names = [f"<tspan fill='{c}'>neuron {n}</tspan>" for n, c in enumerate(COLOURS[:NEURONS])]
    found.append(f"<text x='744' y='230' font-size='12' text-anchor='end'>{' '.join(names)}</text>")
    return "\n".join([*found, "</svg>", ""])


def panel(x: float, title: str, names: list[str]) -> list[str]:
    """Axes from 1 to 1,000 steps, and up through the values `names`, equally far apart."""
    found = [label(x, TOP - 14, title, "start", 13)]
    for i, name in enumerate(names):
        y = TOP + HIGH * (1 - i / (len(names) - 1))
        found.append(f"<path d='M{x},{y:g}h{WIDE}' stroke='{GREY}' stroke-opacity='{0.6 if name == '0' else 0.25}'/>")
        found.append(label(x - 8, y + 4, name, "end"))
    for power, name in enumerate(("1", "10", "100", "1000 steps")):
        found.append(label(x + WIDE * power / 3, TOP + HIGH + 18, name, "middle" if power < 3 else "end"))
        found.append(f"<path d='M{x + WIDE * power / 3:g},{TOP}v{HIGH}' stroke='{GREY}' stroke-opacity='0.15'/>")
    return found


def line(x: float, heights: Tensor, colour: str, opacity: float) -> str:
    """A curve over the logarithm of time, heights from 0 to 1."""
    across = torch.tensor(times(), dtype=heights.dtype).log10() / 3 * WIDE + x
    down = TOP + HIGH * (1 - heights.clamp(0, 1))
    points = " ".join(f"{a:.0f},{d:.0f}" for a, d in zip(across.tolist(), down.tolist(), strict=True))
    return (
        f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.6' stroke-opacity='{opacity:g}'/>"
    )


def label(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{GREY}' text-anchor='{anchor}'>{text}</text>"


def main(argv: list[str]) -> int:
    for kind in argv or [kind for kind in MEMORIES if MEMORIES.origin(kind) == "built in"]:
        (FOLDER / f"{kind}.svg").write_text(picture(kind), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
