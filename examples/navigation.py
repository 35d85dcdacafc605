"""Finding back: a building of two floors, notes of what was seen in an octree and on a graph of landmarks.

After *Mem4Nav*, arXiv 2506.19433. A walker is shown every room once, and is then sent back to a thing that it saw. It
decides by six notes at a time. A fixed window holds the last six; a memory brings the six that matter: those of the
nearest cells, by an octree, and those of the next landmarks of the way, by a graph. A note is written into the token of
its cell by a reversible map (additive coupling) and read by going back. That is exact and saves nothing: what is left
over of a note is kept beside the token, and is as long as the note.

A graph of this library decides: a neuron for each note, which hear one another, and whose mean says where to go.
Octree, landmarks and coupling are this file's; neurons would do none of them better.

    python examples/navigation.py
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from building import LONG, MOVES, Building, Place
from torch import Tensor, nn

import inn

LEVELS, NOTES, WIDTH = 4, 6, 28
"""Levels of the octree above its cells; notes at a time; numbers that a neuron hears."""


class Coupling:
    """A reversible map of a token and a note to a new token and what is left over of the note."""

    def __init__(self):
        self.maps = np.linalg.qr(np.random.default_rng(0).normal(size=(2, LONG, LONG)))[0].astype(np.float32) / 2

    def write(self, token: np.ndarray, note: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = note + np.tanh(self.maps[0] @ token)
        return token + np.tanh(self.maps[1] @ left), left

    def read(self, token: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = token - np.tanh(self.maps[1] @ left)
        return before, left - np.tanh(self.maps[0] @ before)


class Memory:
    """Notes of a walk, and which are brought: `parts` has of the words `octree`, `graph`, `last` and `goal`."""

    def __init__(self, parts: str = "octree graph"):
        self.parts, self.coupling, self.time = parts, Coupling(), 0
        self.tokens: dict[Place, tuple[np.ndarray, list[np.ndarray]]] = {}
        self.cells: list[dict[Place, set[Place]]] = [{} for _ in range(LEVELS + 1)]
        self.ways: dict[Place, dict[Place, int]] = {}
        self.walked: list[Place] = []
        self.landmark, self.since = (), 0

    def write(self, building: Building, place: Place) -> None:
        token, rest = self.tokens.get(place, (np.zeros(LONG, np.float32), []))
        token, left = self.coupling.write(token, building.note(place, self.time))
        self.tokens[place] = token, [*rest, left]
        for level, cells in enumerate(self.cells):
            cells.setdefault(tuple(a >> level for a in place), set()).add(place)
        self.walked.append(place)
        self.time, self.since = self.time + 1, self.since + 1
        if place in building.kinds:
            for a, b in ((self.landmark, place), (place, self.landmark)):
                if a != b and self.landmark:
                    self.ways.setdefault(a, {})[b] = min(self.since, self.ways.get(a, {}).get(b, self.since))
            self.landmark, self.since = place, 0

    def read(self, place: Place) -> Iterator[np.ndarray]:
        """The notes of a cell, the last one first."""
        token, rest = self.tokens[place]
        for left in reversed(rest):
            token, note = self.coupling.read(token, left)
            yield note

    def near(self, place: Place, most: int) -> list[Place]:
        """Known places near one, the nearest first: out of the smallest cell of the octree that has enough."""
        found = set[Place]()
        for level, cells in enumerate(self.cells):
            found = cells.get(tuple(a >> level for a in place), set())
            if len(found) > most:
                break
        return sorted(found - {place}, key=lambda p: (abs(np.subtract(p, place)).sum(), p))[:most]

    def route(self, goal: Place) -> list[Place]:
        """The landmarks to come from the last one to a goal, on the shortest way that was walked (Dijkstra)."""
        queue: list[tuple[int, tuple[Place, ...]]] = [(0, (self.landmark,))]
        done = set[Place]()
        while queue:
            steps, way = heapq.heappop(queue)
            if way[-1] == goal:
                return list(way[1:])
            if way[-1] not in done:
                done.add(way[-1])
                for to, more in self.ways.get(way[-1], {}).items():
                    heapq.heappush(queue, (steps + more, (*way, to)))
        return []

    def bring(self, place: Place, goal: Place) -> list[tuple[np.ndarray, int]]:
        """At most `NOTES` notes, each with how many landmarks ahead it is on the way (0: not on the way)."""
        way = self.route(goal)[: NOTES // 2 if "octree" in self.parts else NOTES] if "graph" in self.parts else []
        others = [goal] * ("goal" in self.parts)
        if "octree" in self.parts:
            others += self.near(place, NOTES - len(way))
        if "last" in self.parts:
            others += self.walked[-2 : len(others) - NOTES - 2 : -1]
        brought = [*((p, ahead) for ahead, p in enumerate(way, 1)), *((p, 0) for p in others)]
        return [(next(self.read(p)), ahead) for p, ahead in brought]


class Walker(nn.Module):
    """A neuron for each note: they share their weights, hear one another, and their mean decides."""

    def __init__(self):
        super().__init__()
        self.graph = inn.Graph(
            neurons=NOTES, width=WIDTH, rounds=2, weights="shared", router="attention", memory="none", readout="mean"
        )
        self.head = nn.Linear(WIDTH, len(MOVES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.graph(x[:, None])[0][:, 0])


class Errand:
    """A building that was shown to a walker, and the thing that it is sent to."""

    def __init__(self, rng: np.random.Generator, parts: str):
        self.building, self.memory = Building(rng), Memory(parts)
        for place in (tour := [*self.building.tour(rng)]):
            self.memory.write(self.building, place)
        self.place = tour[-1]
        self.goal = int(rng.choice([thing for thing, at in self.building.goals.items() if at != self.place]))
        self.best = self.building.best(self.building.goals[self.goal])
        self.left = 2 * self.best[self.place][-1] + 4

    @property
    def there(self) -> bool:
        return self.place == self.building.goals[self.goal]

    def go(self, move: int) -> None:
        self.place = self.building.ways[self.place].get(move, self.place)
        self.memory.write(self.building, self.place)

    def heard(self) -> Tensor:
        """What neurons hear, `[NOTES * WIDTH]`: each a note as seen from here, and which moves are open; or zeros."""
        x = np.zeros((NOTES, WIDTH), np.float32)
        notes = self.memory.bring(self.place, self.building.goals[self.goal])
        for row, (note, ahead) in zip(x, notes, strict=False):
            row[:16], row[16:19] = note[:16], (note[16:19] - self.place) / 4
            row[19:22] = note[self.goal], 1 / ahead if ahead else 0, self.memory.time / 10 - note[19]
            row[[22 + move for move in self.building.ways[self.place]]] = 1
        return torch.from_numpy(x.ravel())


def taught(parts: str, seed: int, errands: int = 600, steps: int = 600) -> Walker:
    """A walker that imitates shortest ways, from places where it has strayed, too."""
    rng, x, y = np.random.default_rng([seed, 0]), [], []
    for _ in range(errands):
        errand = Errand(rng, parts)
        while not errand.there:
            best = errand.best[errand.place][:-1]
            x.append(errand.heard())
            y.append(torch.zeros(6).index_fill(0, torch.tensor(best), 1 / len(best)))
            errand.go(int(rng.choice(best) if rng.random() > 0.2 else rng.integers(6)))
    torch.manual_seed(seed)
    inputs, targets, walker = torch.stack(x), torch.stack(y), Walker()
    optimizer = torch.optim.AdamW(walker.parameters(), 3e-3)
    for _ in range(steps):
        at = torch.randint(len(inputs), (64,))
        loss = nn.functional.cross_entropy(walker(inputs[at]), targets[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return walker.eval()


@torch.no_grad()
def success(walker: Walker, parts: str, seed: int, errands: int = 200) -> float:
    """The share of errands done in at most twice the shortest way and four steps, in buildings not seen before."""
    rng, draw = np.random.default_rng([seed, 1]), torch.Generator().manual_seed(seed)
    all_of = going = [Errand(rng, parts) for _ in range(errands)]
    while going := [errand for errand in going if errand.left and not errand.there]:
        chances = walker(torch.stack([errand.heard() for errand in going])).softmax(-1)
        for errand, move in zip(going, torch.multinomial(chances, 1, generator=draw)[:, 0].tolist(), strict=True):
            errand.go(move)
            errand.left -= 1
    return sum(errand.there for errand in all_of) / errands


def main(seeds: Sequence[int] = (0, 1, 2)) -> None:
    for seed in seeds:
        for parts in ("octree graph", "last"):
            print(f"seed {seed}, {parts}: {success(taught(parts, seed), parts, seed):.2f} of the errands are done")


if __name__ == "__main__":
    main()
