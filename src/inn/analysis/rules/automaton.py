"""Finite automata: of a known table, or learned from whatever answers strings; compared, checked and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from inn.system.errors import InputError

STATES = 64
"""States of an automaton, at most."""
LENGTH, STRINGS = 256, 64
"""Strings that an automaton is checked on: their length, and how many."""

Answers = Callable[[np.ndarray], np.ndarray]
"""What is answered at every step of strings: `[B, T]` symbols -> `[B, T]` whole numbers, from the same start each."""


@dataclass(frozen=True)
class Automaton:
    """A Mealy machine: it begins in state 0, and answers a symbol by the state it is in.

    Attributes:
        following: `[S, A]` int64, the state after each symbol.
        answer: `[S, A]` int64, what is answered at that step.
        symbols: what each symbol is called.
        answers: what each answer is called.
    """

    following: np.ndarray
    answer: np.ndarray
    symbols: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def states(self) -> int:
        """How many it has."""
        return len(self.following)

    def read(self, strings: np.ndarray) -> np.ndarray:
        """What it answers at every step of strings `[B, T]`, each from the start: `[B, T]`."""
        return self.answer[self.visited(strings), strings]

    def visited(self, strings: np.ndarray) -> np.ndarray:
        """The state before each step of strings `[B, T]`."""
        state, found = np.zeros(len(strings), np.int64), np.empty(strings.shape, np.int64)
        for t in range(strings.shape[1]):
            found[:, t] = state
            state = self.following[state, strings[:, t]]
        return found

    def minimal(self) -> Automaton:
        """The smallest one that answers alike, its states in the order in which they are first reached.

        States are told apart by their answers, then by which of those they lead to, until nothing changes (Moore 1956).

        >>> even = Automaton(np.array([[1, 2], [0, 3], [3, 0], [2, 1]]), np.array([[0, 1], [0, 1], [1, 0], [1, 0]]),
        ...                  ("0", "1"), ("even", "odd"))
        >>> even.minimal().following.tolist()
        [[0, 1], [1, 0]]
        """
        group = np.unique(self.answer, axis=0, return_inverse=True)[1].reshape(-1)
        while True:
            signature = np.column_stack([group, group[self.following]])
            finer = np.unique(signature, axis=0, return_inverse=True)[1].reshape(-1)
            if finer.max() == group.max():
                break
            group = finer
        order, seen = [0], {int(group[0]): 0}
        for state in order:
            for to in self.following[state].tolist():
                if int(group[to]) not in seen:
                    seen[int(group[to])] = len(order)
                    order.append(to)
        following = np.array([[seen[int(group[to])] for to in self.following[s]] for s in order])
        return Automaton(following, self.answer[order], self.symbols, self.answers)

    def same_as(self, other: Automaton) -> bool:
        """Whether two automata over the same symbols answer every string alike."""
        mine, theirs = self.minimal(), other.minimal()
        return np.array_equal(mine.following, theirs.following) and np.array_equal(mine.answer, theirs.answer)

    def table(self) -> list[list[str]]:
        """It as text: a row for each state, first its number, then `next state / answer` of each symbol."""
        return [
            [str(s), *(f"{to} / {self.answers[a]}" for to, a in zip(self.following[s], self.answer[s], strict=True))]
            for s in range(self.states)
        ]

    def edges(self) -> list[tuple[int, int, str]]:
        """From state, to state, and what is read there: `symbol / answer`, those of one edge together."""
        found: dict[tuple[int, int], list[str]] = {}
        for s in range(self.states):
            for a, (to, answer) in enumerate(zip(self.following[s].tolist(), self.answer[s].tolist(), strict=True)):
                found.setdefault((s, to), []).append(f"{self.symbols[a]} / {self.answers[answer]}")
        return [(s, to, ", ".join(said)) for (s, to), said in found.items()]

    def mermaid(self) -> str:
        """It as a Mermaid diagram, which the forges draw."""
        lines = ["stateDiagram-v2", "    direction LR", "    [*] --> s0"]
        return "\n".join(lines + [f"    s{s} --> s{to} : {said}" for s, to, said in self.edges()]) + "\n"

    def drawn(self, size: int = 420) -> list[dict[str, float | str]]:
        """Where its states stand on a circle, and its edges run, in a square of this size; what a page draws.

        Circles have `x`, `y`, `text`; edges a `path` (of SVG), and `x`, `y`, `text` of what is read there.
        """
        middle, radius = size / 2, size / 2 - 60
        at = [
            (middle + radius * math.sin(2 * math.pi * s / self.states),
             middle - radius * math.cos(2 * math.pi * s / self.states))
            for s in range(self.states)
        ] if self.states > 1 else [(middle, middle)]  # fmt: skip
        found: list[dict[str, float | str]] = [{"x": x, "y": y, "text": str(s)} for s, (x, y) in enumerate(at)]
        for s, to, said in self.edges():
            (x0, y0), (x1, y1) = at[s], at[to]
            if s == to:
                away = math.hypot(x0 - middle, y0 - middle)
                ux, uy = ((x0 - middle) / away, (y0 - middle) / away) if away else (0.0, -1.0)
                a, b = (ux - uy, uy + ux), (ux + uy, uy - ux)
                path = (
                    f"M{x0 + 12 * a[0]:.1f} {y0 + 12 * a[1]:.1f} C{x0 + 42 * a[0]:.1f} {y0 + 42 * a[1]:.1f} "
                    f"{x0 + 42 * b[0]:.1f} {y0 + 42 * b[1]:.1f} {x0 + 12 * b[0]:.1f} {y0 + 12 * b[1]:.1f}"
                )
                found.append({"path": path, "x": x0 + 48 * ux, "y": y0 + 48 * uy, "text": said})
                continue
            far = math.hypot(x1 - x0, y1 - y0)
            ux, uy = (x1 - x0) / far, (y1 - y0) / far
            bx, by = (x0 + x1) / 2 + 24 * uy, (y0 + y1) / 2 - 24 * ux  # bent, so that two ways do not lie on each other
            path = (
                f"M{x0 + 17 * ux + 6 * uy:.1f} {y0 + 17 * uy - 6 * ux:.1f} Q{bx:.1f} {by:.1f} "
                f"{x1 - 19 * ux + 6 * uy:.1f} {y1 - 19 * uy - 6 * ux:.1f}"
            )
            found.append({"path": path, "x": bx + 8 * uy, "y": by - 8 * ux, "text": said})
        return found

    def svg(self) -> str:
        """It as a drawing of its own: an SVG file."""
        size, shapes = 420, []
        for one in self.drawn(size):
            text = _escaped(str(one["text"]))
            if "path" in one:
                shapes.append(f'<path d="{one["path"]}" fill="none" stroke="#888" marker-end="url(#to)"/>')
                shapes.append(f'<text x="{one["x"]:.1f}" y="{one["y"]:.1f}" font-size="10">{text}</text>')
            else:
                ring = 3 if text == "0" else 1
                shapes.append(
                    f'<circle cx="{one["x"]:.1f}" cy="{one["y"]:.1f}" r="16" fill="#fff" stroke="#333" '
                    f'stroke-width="{ring}"/><text x="{one["x"]:.1f}" y="{one["y"]:.1f}" dy="4">{text}</text>'
                )
        marker = '<marker id="to" orient="auto" markerWidth="8" markerHeight="8" refX="6" refY="3">'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" font-family="sans-serif" '
            f'font-size="12" text-anchor="middle"><defs>{marker}<path d="M0 0L7 3L0 6z" fill="#888"/></marker></defs>'
            f"{''.join(shapes)}</svg>\n"
        )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def automaton(
    answers: Answers,
    symbols: Sequence[str],
    named: Sequence[str],
    *,
    states: int = STATES,
    length: int = LENGTH,
    strings: int = STRINGS,
    seed: int = 0,
) -> Automaton:
    """The minimal automaton that answers every string as `answers` does, learned by asking it.

    What has been read is one state with what else has been read where both are answered alike whatever comes then; at
    first what comes is a single symbol. Where the automaton so found answers a long string otherwise, the two are told
    apart by what came in that string: its shortest end that does it (Rivest & Schapire 1993, after L*, Angluin 1987).
    So any two of its states are told apart by some string: it is minimal, by the theorem of Myhill and Nerode.

    Args:
        answers: what is answered at every step of strings, `[B, T]` -> `[B, T]`; from the same start each time.
        symbols: what the symbols of strings are called.
        named: what the answers are called.
        states: at most so many; what remembers more is no automaton of that size.
        length, strings: of the random strings that it is checked on, anew until it answers all of them alike.
        seed: of these.

    Raises `InputError` where it would take more states, and for answers that differ when asked again.

    >>> parity = automaton(lambda strings: strings.cumsum(1) % 2, ["0", "1"], ["even", "odd"], length=16)
    >>> parity.following.tolist(), parity.answer.tolist()
    ([[0, 1], [1, 0]], [[0, 1], [1, 0]])
    """
    rng, count = np.random.default_rng(seed), len(symbols)
    if not count:
        raise InputError("an automaton reads symbols; name at least one")
    ends: list[tuple[int, ...]] = [(a,) for a in range(count)]
    learned = _closed(answers, ends, count, states, symbols, named)
    while True:
        asked = rng.integers(0, count, (strings, length))
        true = answers(asked)
        wrong = learned.read(asked) != true
        if not wrong.any():
            return learned
        row = int(wrong.any(1).argmax())
        end = _end(answers, learned, asked[row, : int(wrong[row].argmax()) + 1])
        if end in ends:
            raise InputError("the same string is answered otherwise when it is asked again; give what does not draw")
        ends.append(end)
        learned = _closed(answers, ends, count, states, symbols, named)


def _closed(
    answers: Answers, ends: list[tuple[int, ...]], count: int, states: int, symbols: Sequence[str], named: Sequence[str]
) -> Automaton:
    """The automaton whose states are what can be read that some end tells apart: breadth first, each by its answers."""
    ways: list[tuple[int, ...]] = [()]
    known = {_signature(answers, [()], ends)[0]: 0}
    following: list[list[int]] = []
    while len(following) < len(ways):
        at = len(following)
        longer = [(*ways[at], a) for a in range(count)]
        row = []
        for way, signature in zip(longer, _signature(answers, longer, ends), strict=True):
            if signature not in known:
                if len(ways) == states:
                    raise InputError(f"what is answered is no automaton of up to {states} states; allow more by states")
                known[signature] = len(ways)
                ways.append(way)
            row.append(known[signature])
        following.append(row)
    said = np.array([_last(answers, [(*way, a) for a in range(count)]) for way in ways])
    return Automaton(np.array(following), said, tuple(symbols), tuple(named))


def _signature(answers: Answers, ways: list[tuple[int, ...]], ends: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """What is answered last after each way and each end."""
    said = _last(answers, [(*way, *end) for way in ways for end in ends])
    return [tuple(said[i * len(ends) : (i + 1) * len(ends)]) for i in range(len(ways))]


def _last(answers: Answers, strings: list[tuple[int, ...]]) -> list[int]:
    """What is answered at the last step of strings of any lengths."""
    lengths = [len(s) for s in strings]
    padded = np.zeros((len(strings), max(lengths)), np.int64)
    for i, s in enumerate(strings):
        padded[i, : len(s)] = s
    return answers(padded)[np.arange(len(strings)), np.array(lengths) - 1].tolist()


def _end(answers: Answers, learned: Automaton, string: np.ndarray) -> tuple[int, ...]:
    """The end of a string that is answered wrongly, which tells two ways into what was taken for one state apart.

    For each place the string so far is replaced by the way by which its state was found; the answer is right before
    some place and wrong after it, and what comes after that is the end.
    """
    ways = _ways(learned)
    states = [*learned.visited(string[None])[0].tolist()]
    true = _last(answers, [tuple(string.tolist())])[0]
    low, high = 0, len(string) - 1  # at 0 the string itself is asked; at the last symbol the automaton answers
    while high - low > 1:
        middle = (low + high) // 2
        said = _last(answers, [(*ways[states[middle]], *string[middle:].tolist())])[0]
        low, high = (middle, high) if said == true else (low, middle)
    return tuple(string[high:].tolist())


def _ways(learned: Automaton) -> list[tuple[int, ...]]:
    """A shortest string into each state, first found breadth first as `_closed` finds it."""
    ways: dict[int, tuple[int, ...]] = {0: ()}
    for state in range(learned.states):
        for a, to in enumerate(learned.following[state].tolist()):
            ways.setdefault(to, (*ways[state], a))
    return [ways[s] for s in range(learned.states)]
