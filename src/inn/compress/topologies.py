"""Topologies: which blocks of which layers share their input states."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inn.system.errors import InputError, nearest

ROLES = {
    "q": "queries",
    "k": "keys",
    "v": "values",
    "o": "attention's output",
    "u": "up",
    "g": "gate",
    "d": "down",
}
"""What a letter of a topology stands for; any other projection has its own name in braces, as {in_proj}."""

TOPOLOGIES = {
    "svd-llm": "q-k-v-o-u-g-d",
    "basis-sharing": "qq-kk-vv-o-uu-gg-d",
    "in-layer": "qkv-o-ug-d",
    "hybrid1": "kk-qv-qv-qq-kk-vv",
    "hybrid2": "qq-kk-vv-kk-qv-qv",
    "hybrid3": "kk-qv|qq-kk-vv",
    "hybrid4": "qq-kk-vv|kk-qv",
    "hybrid5": "kkk-qq-vv-qv",
}
"""Topologies that have a name. `hybrid1` to `hybrid5` are those of the NGC authors' code; `in-layer` is ours."""

WHOLE = {"svd-llm": 1, "basis-sharing": 2, "in-layer": 1}
"""Those that name all projections, and over how many layers they share the ones that have no letter."""


class Block(NamedTuple):
    """One projection of one layer."""

    layer: int
    role: str

    def __str__(self) -> str:
        return f"{self.role}{self.layer}"


BlockGroup = tuple[Block, ...]
"""Blocks that share their input states."""


def parse_topology(topology: str, blocks: Iterable[Block]) -> list[BlockGroup]:
    """The groups that a topology makes of the blocks of a model.

    Dashes separate groups, a letter is a projection (`ROLES`), and a letter that comes again means the next layer: the
    n-th time a letter stands in the topology it is layer n of a cycle, which is repeated down the depth. A bar cuts the
    depth into equal parts with a topology each. Projections that a topology does not name are left as they are; those
    of `WHOLE` have one for each that has no letter, too.

    Args:
        topology: such as `qkv-ug-d` or `qq-kk-vv`, or a name of `TOPOLOGIES`.
        blocks: the blocks there are.

    Returns the groups by their first layer, every block in at most one.

    Raises `InputError` for a letter that is no projection of the model, and for letters that share a group but not the
    length of their cycle.

    >>> blocks = [Block(layer, role) for layer in range(3) for role in "qkv"]
    >>> [" ".join(map(str, group)) for group in parse_topology("kk-qv", blocks)]
    ['k0 k1', 'q0 v0', 'q1 v1', 'k2', 'q2 v2']
    """
    there = sorted(set(blocks))
    layers = sorted({block.layer for block in there})
    parts = TOPOLOGIES.get(topology, topology).split("|")
    if topology in WHOLE:
        others = dict.fromkeys(block.role for block in there if block.role not in ROLES)
        parts = ["-".join([*parts, *(f"{{{name}}}" * WHOLE[topology] for name in others)])]
    made: list[BlockGroup] = []
    for i, part in enumerate(parts):
        cut = [i * len(layers) // len(parts), (i + 1) * len(layers) // len(parts)]
        made += _section(topology, part, layers[cut[0] : cut[1]], there)
    order = {block: i for i, block in enumerate(there)}
    return sorted((tuple(sorted(g, key=order.__getitem__)) for g in made), key=lambda g: (g[0].layer, order[g[0]]))


def only(groups: Iterable[BlockGroup], roles: Iterable[str]) -> list[BlockGroup]:
    """The groups' blocks of these roles."""
    wanted = set(roles)
    kept = (tuple(block for block in group if block.role in wanted) for group in groups)
    return [group for group in kept if group]


def _section(topology: str, part: str, layers: Sequence[int], there: Sequence[Block]) -> list[BlockGroup]:
    """The groups of one topology without bars, over some layers."""
    known = {block.role for block in there}
    words = [_letters(topology, word) for word in _words(part)]
    cycle = Counter(letter for word in words for letter in word)
    for word in words:
        for letter in word:
            if letter not in known and not (topology in TOPOLOGIES and letter in ROLES):
                raise InputError(
                    f"topology '{topology}' names the projection '{letter}', and this model has "
                    f"{', '.join(sorted(known))}"
                    f"{nearest(letter, sorted(known))}"
                )
        if len({cycle[letter] for letter in word}) > 1:
            lengths = ", ".join(f"{letter} {cycle[letter]}" for letter in dict.fromkeys(word))
            raise InputError(
                f"topology '{topology}': the group '{''.join(word)}' joins projections that come round after different "
                f"numbers of layers ({lengths}); name each of them equally often"
            )
    at: Counter[str] = Counter()
    groups: list[BlockGroup] = []
    for word in words:
        offsets = []
        for letter in word:
            offsets.append((letter, at[letter]))
            at[letter] += 1
        length = cycle[word[0]]
        for start in range(0, len(layers), length):
            group = [
                Block(layers[start + offset], letter) for letter, offset in offsets if start + offset < len(layers)
            ]
            group = [block for block in group if block in there]
            if group:
                groups.append(tuple(group))
    return groups


def _words(part: str) -> list[str]:
    """The groups of a topology without bars; dashes inside braces are part of a name."""
    return re.split(r"-(?![^{]*\})", part)


def roles_of(roles: str | Iterable[str]) -> list[str]:
    """Projections given one by one, or written as in a topology: `qkv`, `qk{in_proj}`."""
    return _letters(roles, roles) if isinstance(roles, str) else list(roles)


def _letters(topology: str, word: str) -> list[str]:
    """The projections of a group: letters, or names in braces."""
    found, rest = [], word.strip()
    while rest:
        if rest[0] == "{" and "}" in rest:
            name, rest = rest[1:].split("}", 1)
        else:
            name, rest = rest[0], rest[1:]
        found.append(name)
    if not found:
        raise InputError(f"topology '{topology}' has an empty group; write it like qkv-ug-d")
    return found
