"""The games are popgym's, step by step, and one who sees everything plays them perfectly."""

from __future__ import annotations

import numpy as np
import pytest

from inn_studies.where.games import GAMES, PositionOnlyCartPole, RepeatPrevious, played
from inn_studies.where.play import watched


@pytest.mark.parametrize("name", GAMES)
def test_the_best_return_is_one(name):
    game = GAMES[name]()
    assert played(game, 50, 0, lambda seen: np.maximum(game.oracle(), 0)) == pytest.approx(1)
    rng = np.random.default_rng(0)
    assert played(game, 50, 0, lambda seen: rng.integers(0, game.actions, len(seen))) < 0.2


@pytest.mark.parametrize("name", GAMES)
def test_what_was_watched_is_what_the_oracle_would_have_done(name):
    game = GAMES[name]()
    inputs, targets = watched(game, np.random.default_rng(1), 6, None)
    assert inputs.shape == (6, game.steps, game.features)
    if name == "RepeatPreviousEasy":
        suits = inputs.argmax(-1)
        assert np.array_equal(targets[:, 3:], suits[:, :-3])
        assert (targets[:, :3] == -100).all()
    else:
        assert set(np.unique(targets)) <= {-100, 0, 1}


def test_cart_and_pole_are_those_of_popgym():
    environment = pytest.importorskip("popgym.envs.position_only_cartpole").PositionOnlyCartPoleEasy()
    rng = np.random.default_rng(1)
    for seed in range(3):
        environment.reset(seed=seed)
        game = PositionOnlyCartPole()
        game.reset(rng, 1)
        game._state, over, step = np.array([environment.state], float), False, 0
        while not over:
            action = int(game.oracle()[0]) if step < 30 * seed else int(rng.integers(2))
            seen, reward, terminated, truncated, _ = environment.step(action)
            ours, rewards, done = game.step(np.array([action]))
            assert np.allclose(seen, ours[0], atol=1e-6)
            assert reward == pytest.approx(rewards[0])
            over, step = terminated or truncated, step + 1
            assert done[0] == over


def test_the_deck_is_that_of_popgym():
    environment = pytest.importorskip("popgym.envs.repeat_previous").RepeatPreviousEasy()
    first, _ = environment.reset(seed=0)
    rng, seen, rewards, actions, over = np.random.default_rng(1), [first], [], [], False
    while not over:
        actions.append(int(rng.integers(4)))
        card, reward, over, _, _ = environment.step(actions[-1])
        seen.append(card)
        rewards.append(reward)
    game = RepeatPrevious()
    game.reset(rng, 1)
    game._suits, game._at = np.array([seen]), 0
    found = [game.step(np.array([action])) for action in actions]
    assert [reward[0] for _, reward, _ in found] == pytest.approx(rewards)
    assert [bool(done[0]) for *_, done in found] == [False] * 50 + [True]
