"""Ways to search: what each draws, from which past, and that a search goes on as if it had not stopped."""

from __future__ import annotations

import math

import optuna
import pytest

from inn.sweep.programs import Programs
from inn.sweep.samplers import scores
from inn.sweep.search import SAMPLERS, sampler
from inn.sweep.space import Choice, Range, Space
from inn.sweep.trials import counted
from inn.sweep.work import plan_sweep, run_sweep
from inn.system.errors import InputError

CHOICES = Space({name: Choice((0, 1, 2)) for name in "abc"})
MIXED = Space(
    {"a": Choice(("x", "y")), "lr": Range(1e-4, 1.0, log=True), "n": Range(2, 40), "w": Range(8, 64, step=8)},
    {"n": {"a": ("y",)}},
)


def value(params: dict) -> float:
    """Best (0) at a = c = 2, b = 0; or at x, a rate of 1e-2 and w = 16."""
    if "lr" not in params:
        return (2 - params["a"]) + params["b"] + 2 * (2 - params["c"])
    more = 1 + params["n"] / 40 if params["a"] == "y" else 0
    return abs(math.log10(params["lr"]) + 2) + more + abs(params["w"] - 16) / 64


def searched(kind: str, space: Space, trials: int, study=None, seed: int = 1):
    """A search as a sweep does it: a new sampler for every trial."""
    study = study or optuna.create_study()
    while len(study.trials) < trials:
        study.sampler = sampler(len(counted(study)), kind=kind, space=space, seed=seed)
        trial = study.ask()
        study.tell(trial, value(space.suggest(trial)))
    return study


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_search_that_stopped_goes_on_to_the_same_trials(kind):
    whole = searched(kind, MIXED, 24)
    parts = searched(kind, MIXED, 24, searched(kind, MIXED, 9))
    assert [t.params for t in parts.trials] == [t.params for t in whole.trials]
    assert all(("n" in t.params) == (t.params["a"] == "y") for t in whole.trials)
    assert all(2 <= t.params.get("n", 2) <= 40 and t.params["w"] % 8 == 0 for t in whole.trials)
    other = searched(kind, MIXED, 24, seed=2)
    assert [t.params for t in other.trials] != [t.params for t in whole.trials]


def test_a_tree_asks_for_nothing_twice_and_goes_where_it_is_good():
    study = searched("mcts", CHOICES, 27)
    assert len({tuple(t.params.values()) for t in study.trials}) == 27
    good = [sum(t.params["c"] == 2 for t in study.trials[:13]), sum(t.params["c"] == 0 for t in study.trials[:13])]
    assert good[0] > good[1]


@pytest.mark.parametrize("kind", ["mcts", "evolution"])
def test_what_is_good_is_found_where_chance_takes_longer(kind):
    """Mean of the best of 40 in a space of ranges, against that at random: halves and near numbers pay."""
    best = {
        k: [min(t.value for t in searched(k, MIXED, 40, seed=s).trials) for s in range(6)] for k in (kind, "random")
    }
    assert sum(best[kind]) < 0.8 * sum(best["random"])


def test_scores_are_ranks_and_who_came_to_nothing_is_last():
    study = optuna.create_study()
    for found in (3.0, 1.0, 3.0):
        study.tell(study.ask(), found)
    pruned = study.ask()
    pruned.report(0.5, 200)
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    assert scores(study.trials) == [0.625, 1.0, 0.625, 0.25, 0.0]
    assert scores(study.trials[:1]) == [0.0]


def test_an_unknown_sampler_and_one_without_a_space(plan):
    with pytest.raises(InputError, match=r"there is no sampler 'mct'; did you mean 'mcts'\?"):
        plan(sampler="mct")
    with pytest.raises(InputError, match="sampler 'mcts' draws from a space"):
        sampler(0, kind="mcts")


EDGES = {
    "ring 0": [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]],
    "star 1; copy 1 0": [[0, 1], [0, 2], [1, 0], [2, 0], [3, 4], [3, 5], [4, 3], [5, 3]],
    "join 0 1": [[0, 3], [1, 4], [2, 5], [3, 0], [4, 1], [5, 2]],
    "edge 0 1; edge 1 1": [[3, 0]],
    "clique 1; clique 1": [[3, 4], [3, 5], [4, 3], [4, 5], [5, 3], [5, 4]],
    "": [],
}


@pytest.mark.parametrize("program", EDGES)
def test_a_program_is_a_wiring(program):
    assert Programs(6, parts=2).edges(program) == EDGES[program]


@pytest.mark.parametrize(
    "program, why", [("rong 0", "did you mean 'ring'"), ("ring 2", "of the parts 0 to 1"), ("join 0", "about 2")]
)
def test_what_is_no_program(program, why):
    with pytest.raises(InputError, match=why):
        Programs(6, parts=2).edges(program)


def test_a_sweep_trains_wirings(tmp_path, text):
    tiny = (
        "--data.batch=4 --data.window=16 --train.symbols=128 --train.eval_symbols=64 --train.sample_every=0 "
        f"--train.device=cpu --train.threads=1 --model.width=2 --model.rounds=1 --data.corpus=file:{text} "
        "--model.neurons=8"
    ).split()
    space = Space({"train.lr": Choice((0.01, 0.02))})
    options = {"folder": tmp_path, "trials": 1, "pruner": "none", "sampler": "evolution", "topologies": True}
    plan = plan_sweep("study-smoke", tiny, space, **options)
    study = run_sweep(plan)
    for trial in study.trials:
        told = plan.told(trial.params)
        model = plan.settings(trial.params).config.model
        assert list(told) == ["train.lr", "topology"]
        assert model.topology.edges == Programs(8).edges(told["topology"])
    with pytest.raises(InputError, match=r"leave out model\.neurons"):
        plan_sweep("study-smoke", tiny[:-1], Space({"model.neurons": Choice((8, 16))}), **options)
    with pytest.raises(InputError, match="8 neurons at least, not 4"):
        plan_sweep("study-smoke", [*tiny, "--model.neurons=4"], space, **options)
    with pytest.raises(InputError, match="'lstm' has no topology"):
        plan_sweep("study-smoke", [*tiny[:6], "--model.kind=lstm"], space, **options)
