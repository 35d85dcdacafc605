"""Streams with something hidden: the targets of sessions, and the optimal losses of hmm and markov, told anew."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import inn
from inn.data.tasks.sessions import WORKFLOWS


@pytest.mark.parametrize("workflows", [1, 4, 8])
def test_an_event_is_out_of_order_where_it_is_not_the_one_that_is_due(told, workflows):
    lists = [line.split() for line in WORKFLOWS[:workflows]]
    counts, wrong, lines = set(), 0, 0
    for inputs, targets in told("sessions", workflows=workflows, active=3, count=60):
        running = {}
        ids = set()
        for line, target in zip(inputs, targets, strict=True):
            block, event = line.split(":")
            ids.add(block)
            if not running.get(block):  # nothing is left to be done: a session begins
                running[block] = list(next(steps for steps in lists if steps[0] == event))
            right = running[block][0] == event
            if right:
                running[block].pop(0)
            else:
                assert event in itertools.chain(*lists)
            assert target == ("in-order" if right else "out-of-order")
            wrong += not right
            lines += 1
        counts.add(len(ids))
    assert counts == {1, 2, 3}
    assert 0.06 < wrong / lines < 0.1  # a first event is always right


def test_workflows_can_be_told_apart_and_name_each_event_once():
    lists = [line.split() for line in WORKFLOWS]
    assert len({steps[0] for steps in lists}) == len(lists)
    assert all(len(set(steps)) == len(steps) for steps in lists)
    assert not {steps[0] for steps in lists} & {event for steps in lists for event in steps[1:]}


def paths_loss(task, inputs, target):
    """Nats of a target by summing over every path of hidden states there is."""
    o, known, joint = task.options, 0.0, 0.0
    for path in itertools.product(range(o.states), repeat=len(inputs) + 1):
        p = 1 / o.states
        for t, symbol in enumerate(inputs):
            p *= task.emissions[path[t], symbol] * task.transitions[path[t], path[t + 1]]
        known += p
        if o.target == "next":
            joint += p * task.emissions[path[-1], target]
        else:
            joint += p * (path[-2] == target - o.symbols)
    return -math.log(joint / known)


@pytest.mark.parametrize("target", ["next", "state"])
def test_the_forward_algorithm_is_the_sum_over_all_paths(target):
    task = inn.task("hmm", states=3, symbols=4, length=4, target=target)
    examples = task.draw(np.random.default_rng(0), 3)
    inputs, targets, _ = examples.padded()
    slow = [paths_loss(task, inputs[i, : t + 1].tolist(), int(targets[i, t])) for i in range(3) for t in range(4)]
    assert task.optimal_loss(examples) == pytest.approx(sum(slow) / len(slow), rel=1e-12)


def test_an_hmm_follows_its_tables():
    task = inn.task("hmm", states=3, symbols=5, length=400, target="state", stay=0.6)
    assert task.transitions.sum(1) == pytest.approx(1.0)
    assert np.diag(task.transitions) == pytest.approx(0.6)
    inputs, targets, _ = task.draw(np.random.default_rng(0), 200).padded()
    states = targets - 5
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (states[:, :-1], states[:, 1:]), 1)
    assert np.abs(pairs / pairs.sum(1, keepdims=True) - task.transitions).max() < 0.01
    seen = np.zeros((3, 5))
    np.add.at(seen, (states, inputs), 1)
    assert np.abs(seen / seen.sum(1, keepdims=True) - task.emissions).max() < 0.01


def test_the_loss_of_a_mixture_is_bayes():
    task = inn.task("markov", sources=3, symbols=4, length=6)
    examples = task.draw(np.random.default_rng(0), 5)
    inputs, targets, _ = examples.padded()
    nats = 0.0
    for row, ahead in zip(inputs.tolist(), targets.tolist(), strict=True):
        belief = np.full(3, 1 / 3)
        for now, after in zip(row, ahead, strict=True):
            nats -= math.log(belief @ task.transitions[:, now, after])
            belief = belief * task.transitions[:, now, after]
            belief /= belief.sum()
    assert task.optimal_loss(examples) == pytest.approx(nats / 30, rel=1e-12)


def test_the_optimum_of_a_mixture_is_near_the_entropy_of_its_sources_and_above_it():
    task = inn.task("markov", length=200)
    examples = task.part("test")
    rates = []
    for table in task.transitions:
        share = np.linalg.matrix_power(table, 1000)[0]
        rates.append(-(share[:, None] * table * np.log(table)).sum())
    assert 0 < task.optimal_loss(examples) - np.mean(rates) < 0.03


def test_tables_stay_when_the_seed_of_the_data_changes():
    one, other, third = inn.task("markov"), inn.task("markov", seed=5), inn.task("markov", tables=1)
    assert np.array_equal(one.transitions, other.transitions)
    assert not np.array_equal(one.transitions, third.transitions)
