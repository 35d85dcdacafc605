"""Balls that bounce in a box, seen as coordinates or as a small picture; the next step is told."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from inn.config.checks import check_at_least, check_idle, needs
from inn.data.examples import Examples
from inn.data.tasks.base import Task, TaskOptions
from inn.data.tasks.own import ahead
from inn.system.errors import InputError


@dataclass
class BallsOptions(TaskOptions):
    """Balls in a box of side 1; the next step is told."""

    balls: int = 2
    """Balls at most."""
    fewest: int | None = None
    """Balls at least, each number as often; null: as many as `balls`."""
    form: Literal["coordinates", "picture"] = "coordinates"
    """coordinates: x and y of each ball; picture: the grey of each point of a grid."""
    slots: int | None = needs(None, "form", "coordinates".__eq__, "coordinates")
    """Balls there are channels for, which they fill at random; the others are missing. Null: as many as `balls`."""
    grid: int = needs(8, "form", "picture".__eq__, "picture")
    """Points of the picture along each side."""
    radius: float = 0.1
    """Of a ball."""
    speed: float = 0.08
    """Way of a ball in a step."""
    collide: bool = True
    """Whether balls bounce off one another, as equal masses do, or pass through."""
    length: int = 50
    """Steps of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_idle(self)
        check_at_least(self, 1, "balls", "fewest", "slots")
        check_at_least(self, 2, "length", "grid")
        for name, most in (("fewest", self.balls), ("balls", self.slots or self.balls)):
            if (getattr(self, name) or 0) > most:
                raise InputError(f"{name} must be at most {most}, not {getattr(self, name)}")
        most = (1 - 2 * self.radius) / self.balls**0.5  # one ball may get the speed of all
        if not 0 < self.radius < 0.5 or not 0 <= self.speed <= most:
            raise InputError(
                f"radius must be below 0.5 and speed at most (1 - 2 radius) / sqrt(balls), not {self.radius} and "
                f"{self.speed}"
            )
        if self.balls * self.radius**2 > 0.1:
            raise InputError(f"{self.balls} balls of radius {self.radius} are too many for the box; make them smaller")


class Balls(Task):
    """The next step of balls that bounce in a box and off one another."""

    Options = BallsOptions
    signal = True
    metric = "rmse"

    @property
    def channels(self) -> list[str]:
        options = self.options
        if options.form == "picture":
            return [f"point{row}.{column}" for row in range(options.grid) for column in range(options.grid)]
        return [f"{axis}{ball}" for ball in range(options.slots or options.balls) for axis in "xy"]

    def draw(self, rng: np.random.Generator, count: int) -> Examples:
        options = self.options
        fewest = options.balls if options.fewest is None else options.fewest
        active = np.arange(options.balls) < rng.integers(fewest, options.balls + 1, (count, 1))  # [n, balls]
        places = self._places(rng, active)
        angles = rng.random((count, options.balls)) * 2 * np.pi
        speeds = options.speed * np.stack([np.cos(angles), np.sin(angles)], -1)
        states = np.empty((options.length, *places.shape))
        for step in range(options.length):
            states[step] = places
            places, speeds = self.move(places, speeds, active)
        states = np.where(active[:, :, None], states, np.nan).swapaxes(0, 1)  # [n, T, balls, 2]
        seen = self.picture(states) if options.form == "picture" else self._in_slots(rng, states)
        found = Examples.equal(seen, seen)
        return Examples(found.inputs, ahead(found.inputs, found.starts, 1), found.starts)

    def move(self, places: np.ndarray, speeds: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places and speeds `[n, balls, 2]` one step later; `active` `[n, balls]` says which balls there are."""
        low, high = self.options.radius, 1 - self.options.radius
        places = places + speeds
        out = (places < low) | (places > high)
        places = np.where(places < low, 2 * low - places, np.where(places > high, 2 * high - places, places))
        speeds = np.where(out, -speeds, speeds)
        for a, b in combinations(range(places.shape[1]) if self.options.collide else (), 2):
            apart = places[:, a] - places[:, b]
            distance = np.maximum(np.linalg.norm(apart, axis=-1), 1e-9)
            normal = apart / distance[:, None]
            nearing = ((speeds[:, a] - speeds[:, b]) * normal).sum(-1)
            hit = (distance < 2 * self.options.radius) & (nearing < 0) & active[:, a] & active[:, b]
            change = np.where(hit, nearing, 0)[:, None] * normal  # equal masses exchange what lies along the line
            speeds[:, a] -= change
            speeds[:, b] += change
        return places, speeds

    def picture(self, places: np.ndarray) -> np.ndarray:
        """The grey of the points of a grid, from 0 to 1 inside a ball, `[n, T, balls, 2]` to `[n, T, grid²]`."""
        grid = self.options.grid
        centre = (np.arange(grid) + 0.5) / grid
        x, y = places[..., 0, None, None], places[..., 1, None, None]
        away = np.sqrt((x - centre) ** 2 + (y - centre[:, None]) ** 2)
        grey = np.clip((self.options.radius - away) * grid + 0.5, 0, 1)  # the rim is a point wide
        return np.nan_to_num(grey).max(2).reshape(*places.shape[:2], -1).astype(np.float32)

    def _places(self, rng: np.random.Generator, active: np.ndarray) -> np.ndarray:
        """Where balls begin: not one inside another, as far as a few draws can have it."""
        low, wide = self.options.radius, 1 - 2 * self.options.radius
        places = low + wide * rng.random((*active.shape, 2))
        for ball in range(1, active.shape[1] if self.options.collide else 0):
            for _ in range(30):
                near = np.linalg.norm(places[:, :ball] - places[:, ball, None], axis=-1).min(1) < 2 * low
                if not near.any():
                    break
                places[near, ball] = low + wide * rng.random((int(near.sum()), 2))
        return places

    def _in_slots(self, rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
        count, steps, balls, _ = places.shape
        slots = self.options.slots or balls
        order = np.argsort(rng.random((count, slots)), 1)[:, :balls]
        seen = np.full((count, steps, slots, 2), np.nan, np.float32)
        seen[np.arange(count)[:, None], :, order] = places.swapaxes(1, 2)
        return seen.reshape(count, steps, -1)
