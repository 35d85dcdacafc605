"""`play`: a policy with a memory imitates one who sees everything, and is judged by the return of its own games."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from inn.models.build import build_model
from inn.models.sequence import SequenceModel
from inn_studies.lab import Lab
from inn_studies.where.games import GAMES, Game, played
from inn_studies.where.harness import Test, Track, configured, sized_models
from inn_studies.where.intervals import shown
from inn_studies.where.row import Answer, Piece, Row, Scale

HELD_OUT = {"valid": 10_001, "return": 20_001}
"""Seeds of the games that a policy is judged by."""
MINUTES = 10


def imitate(
    game: str, model: dict[str, Any], lr: float, seed: int, rounds: int, updates: int, games: int, judged: int
) -> dict[str, Any]:
    """Train a policy and let it play (a function for `Lab.compute`).

    In every round the policy plays (in the first the oracle does, with one move in ten at random), the oracle says what
    it would have done at each step, and the policy learns from all games so far (DAgger, Ross et al. 2011).

    Args:
        model: fields of `--model`.
        rounds, updates, games: rounds, optimiser steps of each, and games of each.
        judged: games that a score is the mean return of.
    """
    began, rng, world = time.perf_counter(), np.random.default_rng([seed, 3]), GAMES[game]()
    torch.manual_seed(seed)
    policy = build_model(configured(model, {"features": world.features, "outputs": world.actions, "head": "classes"}))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=lr, weight_decay=0.01)
    seen: list[np.ndarray] = []
    told: list[np.ndarray] = []
    steps = 0
    for turn in range(rounds):
        inputs, targets = watched(world, rng, games, _acting(policy) if turn else None)
        seen.append(inputs)
        told.append(targets)
        if not turn:
            policy.standardise(inputs.reshape(-1, world.features))  # type: ignore[operator]
        x, y = (torch.from_numpy(np.concatenate(parts)) for parts in (seen, told))
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - turn / rounds)
        policy.train()
        for _ in range(updates):
            chosen = torch.from_numpy(rng.integers(0, len(x), 32))
            loss = policy.loss(policy(x[chosen])[0], y[chosen]) / policy.counted(y[chosen])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            steps += 32 * x.shape[1]
    taken = time.perf_counter() - began
    scores = {
        name: {"value": played(world, judged, first + seed, _acting(policy)), "sequences": judged}
        for name, first in HELD_OUT.items()
    }
    return {
        "status": "finished",
        "parameters": policy.num_parameters,
        "training_flops_per_step": policy.training_flops,
        "steps_read": steps,
        "training_seconds": round(taken, 2),
        "data": {"corpus": game},
        "scores": scores,
    }


def watched(
    game: Game, rng: np.random.Generator, games: int, act: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Games that a policy plays, or the oracle: observations `[games, T, F]`, and the oracle's moves `[games, T]`."""
    seen, over = game.reset(rng, games), np.zeros(games, bool)
    inputs = np.zeros((games, game.steps, game.features), np.float32)
    targets = np.full((games, game.steps), -100, np.int64)
    for step in range(game.steps):
        inputs[:, step], targets[:, step] = seen, game.oracle()
        moves = np.maximum(targets[:, step], 0) if act is None else act(seen)
        moves = np.where(rng.random(games) < 0.1, rng.integers(0, game.actions, games), moves) if act is None else moves
        seen, _, over = game.step(moves)
        if over.all():
            break
    return inputs, targets


def _acting(policy: SequenceModel) -> Callable[[np.ndarray], np.ndarray]:
    """A policy that begins afresh, and acts once a step by its most probable move."""
    policy.eval()
    state = None

    def act(seen: np.ndarray) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            logits, state = policy(torch.from_numpy(seen)[:, None], state)
        return logits[:, 0].argmax(-1).numpy()

    return act


def random_play(game: str, judged: int) -> dict[str, Any]:
    """The return of moves at random."""
    world, rng = GAMES[game](), np.random.default_rng(0)
    value = played(world, judged, HELD_OUT["return"], lambda seen: rng.integers(0, world.actions, len(seen)))
    return {"scores": {"return": {"value": value, "sequences": judged}}}


class Play(Row):
    """Behaviour cloning of an oracle on two games of popgym."""

    name = "play"
    question = "RepeatPreviousEasy and PositionOnlyCartPoleEasy of popgym, learned from an oracle: which return?"
    bar = f"≥ 0.95 of the best return (1) in ≤ {MINUTES} minutes of a core, on both"
    score = "return"
    share = False
    baseline = "random moves"

    def tracks(self, scale: Scale) -> list[Track]:
        return [Track(name, "", 0, tests={"return": Test()}) for name in list(GAMES)[: scale.of(1, 2)]]

    def models(self, track: Track) -> dict[str, dict[str, Any]]:
        world = GAMES[track.name]()
        sizes = {"features": world.features, "outputs": world.actions, "head": "classes"}
        return sized_models(track, sizes, signal=True, best=self.best)

    def measured(self, lab: Lab, size: Scale, wanted: dict[str, Piece]) -> dict[str, Any]:
        budget = size.of(
            {"rounds": 2, "updates": 1, "games": 8, "judged": 8},
            {"rounds": 10, "updates": 40, "games": 32, "judged": 200},
        )
        cases = {
            label: {"game": track.name, "model": model, "lr": lr, "seed": seed, **budget}
            for label, (track, _, model, lr, seed) in wanted.items()
        }
        return lab.compute(imitate, cases)

    def floors(self, lab: Lab, tracks: list[Track]) -> dict[str, Any]:
        return lab.compute(random_play, {track.name: {"game": track.name, "judged": 200} for track in tracks})

    def judge(self, result: dict[str, Any]) -> Answer:
        ours = self.ours(result)
        found = {t["name"]: self.values(result, ours, [(t["name"], "return")]) for t in result["tracks"]}
        seconds = max(r["training_seconds"] for t in result["tracks"] for r in t["rows"] if r["model"] == ours)
        met = all(v and statistics.mean(v) >= 0.95 for v in found.values()) and seconds <= 60 * MINUTES
        scores = ", ".join(f"{name} {shown(values)}" for name, values in found.items())
        return Answer("yes" if met else "no", f"{ours}: {scores}, in at most {seconds:.0f} s")
