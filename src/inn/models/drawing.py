"""Diagrams: boxes and wires, and these as plain text, as a flowchart of Mermaid, and as an SVG.

After *Neural Circuit Diagrams*, arXiv 2402.05424: axes are drawn as wires, and each that enters a box leaves it, or
ends in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

COLUMNS = 80
_ROW, _WIDTH, _LEFT = 64, 360, 130


@dataclass(frozen=True)
class Wire:
    """What goes from one box to another: a tensor, by its axes in their order.

    >>> str(Wire(("B", "T", "N", "D"), (0, 0, 8, 64))), str(Wire(("B", "T", "N", "D"), (0, 0, 8, 64), flat=True))
    ('B T N D = · · 8 64', 'B T (N D) = · · 512')
    """

    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    """0 where it is any."""
    flat: bool = False
    """Whether the last two axes lie one behind the other in one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the tensor's own axes."""
        return (*self.sizes[:-2], self.sizes[-2] * self.sizes[-1]) if self.flat else self.sizes

    def __str__(self) -> str:
        names = [*self.axes[:-2], f"({self.axes[-2]} {self.axes[-1]})"] if self.flat else self.axes
        return f"{' '.join(names)} = {' '.join(str(n) if n else '·' for n in self.shape)}"


@dataclass(frozen=True)
class Box:
    """A part of a model.

    Attributes:
        name: what it is, with its kind.
        takes: what it is given, each with the number of the box that gives it.
        gives: what it gives.
        summed: axes that end in it; all others that enter leave it.
        made: axes that begin in it.
        parts: the names of the modules that it stands for.
        parameters: their numbers, a tied weight counted once, in the first box that has it; of all rounds.
        flops: forward FLOPs of a step, of one round.
        state: bytes of state of a stream, of one round.
        times: how often it is there: the rounds, of what is in one.
    """

    name: str
    takes: tuple[tuple[int, Wire], ...]
    gives: Wire
    summed: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    parameters: int = 0
    flops: float = 0.0
    state: int = 0
    times: int = 1


@dataclass(frozen=True)
class Diagram:
    """A model's boxes, each behind those that it takes from (but for what is heard a step later).

    As text it is at most 80 columns wide; `mermaid()` and `svg()` draw it.
    """

    title: str
    boxes: tuple[Box, ...]

    @property
    def flops(self) -> float:
        """Forward FLOPs of a step: the sum of `model.flops()`."""
        return sum(box.flops * box.times for box in self.boxes)

    @property
    def parameters(self) -> int:
        """Of the model."""
        return sum(box.parameters for box in self.boxes)

    @property
    def state(self) -> int:
        """Bytes of state of a stream."""
        return sum(box.state * box.times for box in self.boxes)

    def __str__(self) -> str:
        return text(self)

    def mermaid(self) -> str:
        """The diagram as a flowchart of Mermaid, which code forges draw."""
        return mermaid(self)

    def svg(self) -> str:
        """The diagram as a picture, an SVG that needs nothing else."""
        return svg(self)


def costs(box: Box) -> str:
    """What a box costs, in words; empty where that is nothing."""
    told = [(box.parameters, "parameters"), (box.flops, "FLOPs"), (box.state, "bytes of state")]
    return ", ".join(f"{n:,.0f} {what}" for n, what in told if n)


def totals(diagram: Diagram) -> str:
    """What a model costs."""
    return f"{diagram.flops:,.0f} FLOPs a step, {diagram.state:,} bytes of state a stream"


def _runs(diagram: Diagram) -> Iterator[tuple[int, list[tuple[int, Box]]]]:
    """The boxes with their numbers, those of the rounds together, and how often these are there."""
    for times, boxes in groupby(enumerate(diagram.boxes), key=lambda one: one[1].times):
        yield times, list(boxes)


def text(diagram: Diagram) -> str:
    """At most 80 columns: a line for each box, before it one for each wire into it that does not come from above it."""
    lines = [diagram.title]
    for times, boxes in _runs(diagram):
        bar = "" if times == 1 else "│ "
        if times > 1:
            lines.append(f"┌ {times} rounds, each:")
        for number, box in boxes:
            for source, wire in box.takes:
                origin = "" if source == number - 1 else f"  from {source + 1} {diagram.boxes[source].name}"
                lines.append(f"{bar}     │ {wire}{origin}")
            lines.append(f"{bar}{number + 1:3}  {box.name}")
            if spent := costs(box):
                lines.append(f"{bar}       {spent}")
        if times > 1:
            lines.append("└")
    lines += [f"     │ {diagram.boxes[-1].gives}", totals(diagram)]
    return "\n".join(part for line in lines for part in _folded(line))


def _folded(line: str) -> list[str]:
    """A line in as many as 80 columns ask for, broken at a space."""
    if len(line) <= COLUMNS:
        return [line]
    at = line.rfind(" ", 40, COLUMNS)
    at = COLUMNS - 1 if at < 0 else at
    return [line[:at], *_folded("           " + line[at:].lstrip())]


def mermaid(diagram: Diagram) -> str:
    """A flowchart: boxes with their costs, wires with their axes, the rounds in a frame."""
    lines = ["flowchart TD"]
    for times, boxes in _runs(diagram):
        framed = times > 1
        if framed:
            lines.append(f'  subgraph rounds{boxes[0][0]}["{times} rounds, each"]')
        for number, box in boxes:
            spent = costs(box)
            lines.append(f'  {"  " * framed}b{number}["{_quoted(box.name)}{f"<br/>{spent}" if spent else ""}"]')
        if framed:
            lines.append("  end")
    for number, box in enumerate(diagram.boxes):
        lines += [f'  b{source} -->|"{_quoted(str(wire))}"| b{number}' for source, wire in box.takes]
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    """Words as a label of Mermaid."""
    return words.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def svg(diagram: Diagram) -> str:
    """Boxes one below the other, wires between neighbours straight, others as arcs on the left; rounds in a frame."""
    height = _ROW * len(diagram.boxes) + 60
    parts = []
    for times, boxes in _runs(diagram):
        if times > 1:
            top, rows = _ROW * boxes[0][0] + 34, len(boxes)
            parts.append(f'<rect class="frame" x="20" y="{top}" width="{_LEFT + _WIDTH}" height="{_ROW * rows - 8}"/>')
            parts.append(f'<text class="small" x="26" y="{top + 14}">{times} rounds</text>')
    for number, box in enumerate(diagram.boxes):
        y = _ROW * number + 54
        for at, (source, wire) in enumerate(box.takes):
            label = escape(str(wire))
            if source == number - 1:
                parts.append(f'<path class="wire" d="M{_LEFT + 60} {y - 28} V{y}"/>')
                parts.append(f'<text class="small" x="{_LEFT + 68}" y="{y - 10}">{label}</text>')
            else:
                begin, out = _ROW * source + 54 + 18, _LEFT - 12 - 5 * min(18, number - source)
                parts.append(
                    f'<path class="wire" d="M{_LEFT} {begin} C{out} {begin} {out} {y + 18 + 4 * at} {_LEFT} '
                    f'{y + 18 + 4 * at}"><title>{label}</title></path>'
                )
        parts.append(f'<rect class="box" x="{_LEFT}" y="{y}" width="{_WIDTH}" height="36" rx="5"/>')
        parts.append(f'<text x="{_LEFT + 10}" y="{y + 15}">{escape(box.name)}</text>')
        parts.append(f'<text class="small" x="{_LEFT + 10}" y="{y + 30}">{escape(costs(box))}</text>')
    style = (
        ".box{fill:#fff;stroke:#345}.frame{fill:#eef3f8;stroke:none}.wire{fill:none;stroke:#789;stroke-width:1.5}"
        "text{font:13px sans-serif;fill:#123}.small{font-size:11px;fill:#567}"
    )
    about = f"{diagram.title}; {totals(diagram)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 40} {height}">'
        f'<style>{style}</style><text x="20" y="22">{escape(about)}</text>{"".join(parts)}</svg>\n'
    )
