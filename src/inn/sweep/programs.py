"""Wirings as short programs, which a sweep searches like any other settings (after G-SSNN, arXiv 2303.03340).

A population is cut into parts of neighbouring neurons; a neuron's port is its place in its part. A program is a few
steps, each a word and the parts that it is about: `ring 0; star 1; copy 0 2; join 0 1; edge 2 0`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inn.sweep.space import Choice, Conditions, Range, Space
from inn.system.errors import InputError, nearest

WORDS: dict[str, int] = {"ring": 1, "star": 1, "clique": 1, "copy": 2, "join": 2, "edge": 2}
"""Words, each with the number of parts that it is about."""
REST = "rest"
"""A step that does nothing."""
PREFIX = "program."
"""What the settings of a program begin with."""


@dataclass(frozen=True)
class Programs:
    """The programs over so many neurons.

    Words: `ring A` joins each neuron of part A with the next one, `star A` its first one with all others, `clique A`
    all of them, each both ways; `copy A B` wires part B as A is wired inside by then; `join A B` joins neurons of the
    same port, both ways; `edge A B` lets the first neuron of B hear that of A.

    Raises `InputError` for fewer than two neurons in a part, on average, and for fewer than two parts or no step.

    >>> Programs(4, parts=2).edges("ring 0; edge 0 1")
    [[0, 1], [1, 0], [2, 0]]
    """

    neurons: int
    parts: int = 4
    steps: int = 6

    def __post_init__(self) -> None:
        if self.parts < 2 or self.steps < 1:
            raise InputError(f"programs have 2 parts and a step at least, not {self.parts} and {self.steps}")
        if self.neurons < 2 * self.parts:
            raise InputError(
                f"wirings of {self.parts} parts need {2 * self.parts} neurons at least, not {self.neurons}; set "
                "model.neurons higher"
            )

    def space(self) -> Space:
        """What a search draws: for each step a word, and under the conditions of that the parts."""
        parts: dict[str, Range | Choice] = {}
        when: dict[str, Conditions] = {}
        for step in range(1, self.steps + 1):
            word, first, second = (f"{PREFIX}{step}.{name}" for name in ("word", "part", "other"))
            parts[word] = Choice((*WORDS, REST))
            parts[first] = parts[second] = Choice(tuple(range(self.parts)))
            when[first] = {word: tuple(WORDS)}
            when[second] = {word: tuple(w for w, count in WORDS.items() if count == 2)}
        return Space(parts, when)

    def text(self, values: Mapping[str, Any]) -> str:
        """The program that values of `space` amount to.

        >>> Programs(8).text({"program.1.word": "rest", "program.2.word": "ring", "program.2.part": 3})
        'ring 3'
        """
        steps = []
        for step in range(1, self.steps + 1):
            said = [values.get(f"{PREFIX}{step}.{name}") for name in ("word", "part", "other")]
            if said[0] not in (None, REST):
                steps.append(" ".join(str(word) for word in said if word is not None))
        return "; ".join(steps)

    def edges(self, program: str) -> list[list[int]]:
        """The edges `[to, from]` that a program makes, in order; `InputError` for an unknown word or part."""
        made: set[tuple[int, int]] = set()
        bounds = [part * self.neurons // self.parts for part in range(self.parts + 1)]
        for step in filter(None, map(str.strip, program.split(";"))):
            word, *numbers = step.split()
            if word not in WORDS:
                raise InputError(f"unknown word '{word}' in a program{nearest(word, WORDS)}")
            if len(numbers) != WORDS[word] or not all(n.isdecimal() and int(n) < self.parts for n in numbers):
                raise InputError(
                    f"'{step}' in a program: {word} is about {WORDS[word]} of the parts 0 to {self.parts - 1}"
                )
            blocks = [range(bounds[int(n)], bounds[int(n) + 1]) for n in numbers]
            made |= {(a, b) for a, b in _added(word, blocks, made) if a != b}
        return sorted(map(list, made))


def programs_of(model: Any, searched: Sequence[str], overrides: Sequence[str]) -> Programs:
    """The programs over a model's neurons, `model` being its configuration.

    Args:
        searched: the settings that are searched beside the wiring.
        overrides: `--section.field=value`, of all trials.

    Raises `InputError` for a model without a topology, and one whose neurons are searched, or topology is given.
    """
    if not hasattr(model, "neurons") or not hasattr(model, "topology"):
        raise InputError(f"a model of kind '{model.kind}' has no topology; search for wirings of kind inn or signal")
    given = [token.partition("=")[0].removeprefix("--") for token in overrides]
    taken = [name for name in (*searched, *given) if name.startswith("model.topology")]
    if taken := [*taken, *(name for name in searched if name == "model.neurons")]:
        raise InputError(f"wirings are searched for, and for one number of neurons; leave out {taken[0]}")
    return Programs(model.neurons)


def _added(word: str, blocks: list[range], made: set[tuple[int, int]]) -> set[tuple[int, int]]:
    a, b = blocks[0], blocks[-1]
    if word == "edge":
        return {(b[0], a[0])}
    if word == "copy":
        inside = {(to - a[0], source - a[0]) for to, source in made if to in a and source in a}
        return {(b[to], b[source]) for to, source in inside if max(to, source) < len(b)}
    if word == "ring":
        pairs = {(n, a[(i + 1) % len(a)]) for i, n in enumerate(a)}
    elif word == "star":
        pairs = {(a[0], n) for n in a}
    elif word == "clique":
        pairs = {(n, m) for n in a for m in a}
    else:
        pairs = set(zip(a, b, strict=False))
    return pairs | {(m, n) for n, m in pairs}
