"""Two games of popgym in numpy, many side by side, with the same rules and rewards; and who plays them perfectly."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np


class Game(Protocol):
    """Many games side by side, all begun together."""

    features: int
    """Numbers of an observation (F)."""
    actions: int
    steps: int
    """Steps of the longest game."""

    def reset(self, rng: np.random.Generator, games: int) -> np.ndarray:
        """Begin; returns the observations `[games, F]` float32."""
        ...

    def oracle(self) -> np.ndarray:
        """What one who sees everything would do now, `[games]`; -100 where it makes no difference."""
        ...

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Act `[games]`: observations, rewards `[games]`, and which games are over (they give no reward any more)."""
        ...


class RepeatPrevious:
    """`RepeatPreviousEasy`: a deck of 52 cards is dealt; say the suit of the card that was seen three cards ago."""

    features, actions, steps, back = 4, 4, 51, 4

    def reset(self, rng: np.random.Generator, games: int) -> np.ndarray:
        deck = np.broadcast_to(np.arange(52) % 4, (games, 52))
        self._suits, self._at = rng.permuted(deck, axis=1), 0
        return self._seen()

    def _seen(self) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[self._suits[:, self._at]]

    def oracle(self) -> np.ndarray:
        asked = self._at + 1 - self.back
        return self._suits[:, asked] if asked >= 0 else np.full(len(self._suits), -100)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        right, most = self.oracle(), 52 - self.back
        rewards = np.where(right < 0, 0.0, np.where(actions == right, 1, -1) / most)
        self._at += 1
        return self._seen(), rewards, np.full(len(actions), self._at == self.steps)


class PositionOnlyCartPole:
    """`PositionOnlyCartPoleEasy`: a pole on a cart, 200 steps; place and angle are seen, and not how they change."""

    features, actions, steps = 2, 2, 200
    _gravity, _pole, _total, _half, _force, _tau = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02

    def reset(self, rng: np.random.Generator, games: int) -> np.ndarray:
        self._state, self._at = rng.uniform(-0.05, 0.05, (games, 4)), 0
        self._over = np.zeros(games, bool)
        return self._seen()

    def _seen(self) -> np.ndarray:
        return self._state[:, [0, 2]].astype(np.float32)

    def oracle(self) -> np.ndarray:
        """Linear in place, speed, angle and angular speed."""
        told = (self._state @ np.array([0.4, 1.0, 8.0, 2.0]) > 0).astype(np.int64)
        return np.where(self._over, -100, told)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, v, angle, turn = self._state.T
        force = np.where(actions == 1, self._force, -self._force)
        cosine, sine = np.cos(angle), np.sin(angle)
        push = (force + self._pole * self._half * turn**2 * sine) / self._total
        inertia = self._half * (4 / 3 - self._pole * cosine**2 / self._total)
        turning = (self._gravity * sine - cosine * push) / inertia
        moving = push - self._pole * self._half * turning * cosine / self._total
        after = self._state + self._tau * np.stack([v, moving, turn, turning], 1)
        rewards = np.where(self._over, 0.0, 1 / self.steps)
        self._state = np.where(self._over[:, None], self._state, after)
        self._at += 1
        fallen = (np.abs(self._state[:, 0]) > 2.4) | (np.abs(self._state[:, 2]) > 12 * math.pi / 180)
        self._over = self._over | fallen | (self._at == self.steps)
        return self._seen(), rewards, self._over


GAMES = {"RepeatPreviousEasy": RepeatPrevious, "PositionOnlyCartPoleEasy": PositionOnlyCartPole}
"""The games by popgym's names; the best return of each is 1."""


def played(game: Game, games: int, seed: int, act) -> float:
    """The mean return of `act(observations) -> actions`, called once a step from the beginning of the games."""
    seen, total, over = game.reset(np.random.default_rng([seed, 7]), games), np.zeros(games), False
    while not np.all(over):
        seen, rewards, over = game.step(act(seen))
        total += rewards
    return float(total.mean())
