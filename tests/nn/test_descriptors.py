"""Descriptors: sums that fade equal a loop, errors are likelihoods, and the one that fits chooses who answers."""

from __future__ import annotations

import math

import pytest
import torch

from inn.config.assemble import graph_config
from inn.nn.descriptors import Descriptors, faded
from inn.surgery.novelty import describe
from inn.system.errors import InputError


def config(**options):
    own = {"kind": "concat", "gains": True, "organs": [[1], [3]], **options}
    return graph_config(neurons=4, width=3, rounds=1, readout=own)


def test_faded_sums_are_those_of_a_loop_whatever_the_resets_masks_and_splits():
    torch.manual_seed(0)
    e, total, weight = (torch.rand(2, n, k).double() for n, k in ((600, 3), (1, 3), (1, 1)))
    reset, mask, fade = torch.rand(2, 600) < 0.01, torch.rand(2, 600) < 0.7, math.exp(-1 / 9)
    sums, weights, after = faded(e, total, weight, 9, reset, mask)
    s, w = total[:, 0], weight[:, 0]
    for t in range(600):
        s, w = (torch.where(reset[:, t, None], 0, v) for v in (s, w))
        s, w = (torch.where(mask[:, t, None], fade * v + new, v) for v, new in ((s, e[:, t]), (w, 1)))
        torch.testing.assert_close(sums[:, t], s)
        torch.testing.assert_close(weights[:, t], w)
    first = faded(e[:, :77], total, weight, 9, reset[:, :77], mask[:, :77])[2]
    rest = faded(e[:, 77:], first["error"], first["weight"], 9, reset[:, 77:], mask[:, 77:])[2]
    torch.testing.assert_close(rest["error"], after["error"])


def test_an_error_is_the_negative_log_likelihood_of_a_gaussian():
    torch.manual_seed(0)
    mix = torch.randn(6, 6)
    units = [torch.randn(4, 6) @ mix + 1 for _ in range(400)]
    one = describe(units, rank=2)
    factor = torch.cat(units[::2]).double()
    scale = (factor.var(0) + 0.01 * factor.var(0).mean()).sqrt()
    z = (factor - factor.mean(0)) / scale
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    rest = values[:4].mean()
    shape = vectors[:, 4:] @ torch.diag(values[4:] - rest) @ vectors[:, 4:].T + rest * torch.eye(6)
    told = torch.distributions.MultivariateNormal(
        factor.mean(0), torch.diag(scale) @ shape @ torch.diag(scale), validate_args=False
    )
    x = torch.randn(5, 6)
    expected = -told.log_prob(x.double()) / 6 - math.log(2 * math.pi) / 2
    torch.testing.assert_close(one.errors([x])[0].double(), expected.mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.record[:200], one.errors(units[1::2]))


def test_the_organ_that_fits_answers_stream_by_stream_or_together():
    for together in (False, True):
        own = Descriptors(config(), together)
        own.center[1] += 5.0
        own.center[2] -= 5.0
        x = torch.zeros(3, 4, 12)
        x[1] += 4.0
        x[2] -= 30.0
        on = own(x, own.initial_state(3), None, None)[0]
        names = {(1.0, 0.0, 1.0, 0.0): 0, (1.0, 1.0, 1.0, 0.0): 1, (1.0, 0.0, 1.0, 1.0): 2}
        chosen = [[names[tuple(step)] for step in row] for row in on.tolist()]
        assert chosen == ([[2] * 4] * 3 if together else [[0] * 4, [1] * 4, [2] * 4])
        own.forced = 1
        assert own(x, own.initial_state(3), None, None)[0][0, 0].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"organs": [[9]]}, "neuron 9"),
        ({"organs": [[1], [1]]}, "names a neuron twice"),
        ({"organs": [[0, 1, 2, 3]]}, "leave some that are of none"),
        ({"organs": [[]]}, "must each name neurons"),
        ({"gains": False}, "set readout.gains"),
        ({"organs": [], "span": 9}, "leave them out"),
        ({"rank": 0}, "rank must be at least 1"),
    ],
)
def test_organs_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        config(**options)
