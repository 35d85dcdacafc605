"""A building to get lost in: a grid of two floors of four rooms, with doors and stairs, for `navigation.py`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MOVES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
THINGS, DOOR, STAIRS = 8, 8, 9
"""Kinds of landmarks: a thing in each room, doors, and stairs."""
LONG = 20
"""Numbers of a note: its kind (10), which moves are open there (6), its place (3), its time (1)."""
Place = tuple[int, ...]


def gone(place: Place, move: int) -> Place:
    return tuple(a + b for a, b in zip(place, MOVES[move], strict=True))


class Building:
    """Two floors of four rooms, three or four doors a floor, a stair; drawn from `rng`."""

    def __init__(self, rng: np.random.Generator):
        corners = [(x, y, z) for z in (0, 1) for y in (0, 5) for x in (0, 5)]
        free = {(x + i, y + j, z) for x, y, z in corners for i in range(4) for j in range(4)}
        self.goals: dict[int, Place] = {}
        for thing, (x, y, z) in zip(rng.permutation(THINGS).tolist(), corners, strict=True):
            self.goals[thing] = (x + int(rng.integers(4)), y + int(rng.integers(4)), z)
        self.kinds = {place: thing for thing, place in self.goals.items()}
        for floor in (0, 1):
            for wall in rng.permutation(4)[: rng.integers(3, 5)].tolist():
                along = 5 * (wall // 2) + int(rng.integers(4))
                self.kinds[(4, along, floor) if wall % 2 else (along, 4, floor)] = DOOR
        free |= set(self.kinds)
        shafts = sorted((x, y) for x, y, z in free if {(x, y, 0), (x, y, 1)} <= free - set(self.kinds) and z)
        stairs = shafts[rng.integers(len(shafts))]
        self.kinds |= {(*stairs, 0): STAIRS, (*stairs, 1): STAIRS}
        self.ways = {
            place: {m: gone(place, m) for m in range(6) if gone(place, m) in free and (m < 4 or place[:2] == stairs)}
            for place in free
        }

    def best(self, goal: Place) -> dict[Place, list[int]]:
        """The moves from every place that bring nearer to a goal; how many steps it is stands last."""
        steps, edge = {goal: 0}, [goal]
        for place in edge:
            for to in self.ways[place].values():
                if to not in steps:
                    steps[to] = steps[place] + 1
                    edge.append(to)
        return {p: [*(m for m, to in self.ways[p].items() if steps[to] < n), n] for p, n in steps.items()}

    def tour(self, rng: np.random.Generator) -> Iterator[Place]:
        """The places of a walk to all things in random order, each on a shortest way from the last."""
        order = rng.permutation(THINGS).tolist()
        yield (place := self.goals[order[0]])
        for thing in order[1:]:
            best = self.best(self.goals[thing])
            while best[place][-1]:
                yield (place := self.ways[place][int(rng.choice(best[place][:-1]))])

    def note(self, place: Place, time: int) -> np.ndarray:
        """What is seen at a place, `[LONG]`."""
        note = np.zeros(LONG, np.float32)
        if place in self.kinds:
            note[self.kinds[place]] = 1
        note[[10 + move for move in self.ways[place]]] = 1
        note[16:] = (*place, time / 10)
        return note
