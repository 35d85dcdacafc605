"""Routers: what they compute, that they start silent, that edges and gates cut what they say they cut."""

import math

import pytest
import torch

from inn.config.assemble import drafted
from inn.config.graph import GraphConfig
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges
from inn.registry import ROUTERS

KINDS = sorted(set(ROUTERS) - {"none"})
SPEAKING = [kind for kind in KINDS if not ROUTERS[kind].into_memory]
"""Routers with messages to add; what leads into a memory is its input, and not silent."""


def router(kind, **fields):
    torch.manual_seed(0)
    given = {"neurons": 4, "width": 8, "heads": 2, "bus_width": 6, "top": 4, "router": kind, **fields}
    return ROUTERS[kind](GraphConfig(**drafted(GraphConfig, given, lenient=True).tree)).eval()


def x(batch=2, time=3):
    torch.manual_seed(1)
    return torch.randn(batch, time, 4, 8)


@pytest.mark.parametrize("weights", ["shared", "separate"])
@pytest.mark.parametrize("kind", SPEAKING)
def test_starts_silent_and_can_learn(kind, weights):
    r = router(kind, weights=weights)
    message, state = r(x())
    assert message.shape == (2, 3, 4, 8)
    assert not state
    assert (message == 0).all()
    (message - 1).square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in r.parameters())
    assert router(kind, weights=weights, zero_start=False)(x())[0].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_each_step_stands_alone(kind):
    r = router(kind, zero_start=False)
    whole, _ = r(x(time=5))
    parts = torch.cat([r(x(time=5)[:, t : t + 1])[0] for t in range(5)], dim=1)
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_edge_carries_nothing(kind):
    r = router(kind, zero_start=False)
    edges = Edges.complete(4).close([(0, 2)])
    changed = x()
    changed[:, :, 2] += 1
    moved = (r(changed, edges=edges)[0] - r(x(), edges=edges)[0]).abs().amax((0, 1, 3))
    assert moved[0] < 1e-6  # neuron 0 no longer hears neuron 2
    assert (moved[[1, 3]] > 1e-4).all()  # the others still do
    torch.testing.assert_close(r(x(), edges=Edges.complete(4))[0], r(x())[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_silences_its_neuron(kind):
    r = router(kind, zero_start=False)
    gate = torch.ones(2, 3, 4)
    torch.testing.assert_close(r(x(), gate=gate)[0], r(x())[0])
    gate[:, :, 1] = 0
    everyone_silent = r(x(), gate=torch.zeros_like(gate))[0]
    assert (everyone_silent - everyone_silent[:1, :1]).abs().max() < 1e-6  # only biases are left
    assert (r(x(), gate=gate)[0] - r(x())[0]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_weights_have_the_declared_mass(kind):
    r = router(kind, zero_start=False)
    tape = Tape(("routing",))
    r(x(), tape=tape.at(0, None))
    weights = tape.mean("routing")
    assert weights.shape[-2:] == (4, 4)
    assert tape.symbols == 6
    if r.mass is not None:
        torch.testing.assert_close(weights.sum(-1), torch.full_like(weights.sum(-1), r.mass))


def test_static_hears_the_plain_mean():
    r = router("static", zero_start=False, weights="shared")
    expected = r.out(r.value(x()).mean(2, keepdim=True).expand(-1, -1, 4, -1))
    torch.testing.assert_close(r(x())[0], expected)


@pytest.mark.parametrize("topology", ["complete", "ring"])
def test_static_hears_the_mean_of_what_is_open(topology):
    r = router("static", zero_start=False, topology=topology)
    ring = Edges.listed([[i, (i - 1) % 4, (i + 1) % 4] for i in range(4)])
    edges = (ring if r.sparse else Edges.complete(4)).close([(0, 1), (0, 3), (3, 2)])
    tape, v = Tape(("routing",)), r.value(x())
    heard = torch.stack([v[:, :, edges.dense()[i]].mean(2) for i in range(4)], 2)
    torch.testing.assert_close(r(x(), edges=edges, tape=tape.at(0, None))[0], r.out(heard))
    weights = tape.mean("routing")
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_bus_is_what_its_formula_says():
    r = router("bus", zero_start=False)
    written = torch.sigmoid(r.write_gate(x())) * r.write(x())
    expected = torch.stack([sum(written[:, :, j] @ r.read[i, :, j].T for j in range(4)) for i in range(4)], dim=2)
    torch.testing.assert_close(r(x())[0], expected)


def test_qk_norm_bounds_the_logits():
    def largest(qk_norm):
        r, tape = router("attention", zero_start=False, qk_norm=qk_norm), Tape(("routing",))
        r(1e6 * x(1, 1), tape=tape.at(0, None))
        return tape.mean("routing").max().item()

    logit = 4**0.5  # per head of width d: |q·k|/√d ≤ √d with unit gains
    assert largest(True) <= 1 / (1 + 3 * math.exp(-2 * logit)) + 1e-6
    assert largest(False) > 0.999
