"""Inner maps against plain formulas in float64, and inside a graph."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import inn
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.nn.inner.families import FAMILY
from inn.nn.inner.hourglass import Hourglass
from inn.nn.inner.kan import Kan
from inn.nn.inner.options import FAMILIES
from inn.nn.inner.separable import Products, Separable
from inn.nn.memory.mamba import Mamba
from inn.system.errors import InputError
from inn.testing import check_inner

SMALL = {"neurons": 3, "width": 4, "rounds": 2}


def built(kind, weights="separate", **options):
    """An inner map in float64 whose parameters are all away from where they start."""
    torch.manual_seed(0)
    inner = inn.graph_config(**SMALL, weights=weights, inner=kind, inner_options=options)
    module = {"hourglass": Hourglass, "kan": Kan, "separable": Separable}[kind](inner).double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    return module


def given(seed=1):
    return torch.randn(2, 5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "kind, options",
    [
        ("hourglass", {"frozen": True, "hidden": 3, "blocks": 1}),
        ("kan", {"families": ["rbf"]}),
        ("separable", {"order": 1}),
        ("separable", {"order": None}),
    ],
)
def test_the_contract_holds_for_other_options(kind, options):
    check_inner(kind, **options)


def test_the_contract_holds_for_a_family_each():
    class Each(Kan):
        def __init__(self, config):
            config = inn.graph_config(neurons=4, width=8, weights="separate", inner="kan", inner_options={
                "families": ["rbf", "hinge", "rbf", "fourier"], "each": True})  # fmt: skip
            super().__init__(config)

    check_inner(Each)


def test_a_broken_contract_is_named():
    class Nosy(Hourglass):
        def forward(self, x):
            return super().forward(x + x.mean(2, keepdim=True))

    with pytest.raises(AssertionError, match="neurons meet inside it"):
        check_inner(Nosy)


@pytest.mark.parametrize("weights", ["separate", "shared"])
def test_an_hourglass_is_its_formula(weights):
    m, x = built("hourglass", weights, hidden=2, blocks=2), given()
    y = torch.empty_like(x)
    for n in range(3):
        p = 0 if weights == "shared" else n
        z = x[:, :, n] @ m.lift.weight[p].T
        for narrow, widen in zip(m.narrow, m.widen):
            h = torch.nn.functional.gelu(z @ narrow.weight[p].T + narrow.bias[p])
            z = z + h @ widen.weight[p].T
        y[:, :, n] = z @ m.out.weight[p].T
    torch.testing.assert_close(m(x), y)


def test_a_frozen_lift_stays_and_is_counted():
    frozen, trained = (built("hourglass", frozen=f) for f in (True, False))
    assert frozen.flops() == trained.flops()
    assert sum(p.numel() for p in frozen.parameters()) == sum(p.numel() for p in trained.parameters())
    frozen(given()).sum().backward()
    assert frozen.lift.weight.grad is None
    assert all(p.grad is not None for name, p in frozen.named_parameters() if name != "lift.weight")
    model = inn.Graph(**SMALL, inner="hourglass", inner_options={"frozen": True})
    kept = model.rounds[0].inner.lift.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model(torch.randn(2, 5, 12))[0].square().sum().backward()
    optimizer.step()
    assert torch.equal(model.rounds[0].inner.lift.weight, kept)


def test_families_are_what_they_are_called():
    u = torch.linspace(-1, 1, 41, dtype=torch.float64)
    x = u.numpy()
    assert set(FAMILY) == set(FAMILIES)
    for count in (4, 7, 8):
        found = {name: f(u, count).numpy() for name, f in FAMILY.items()}
        assert all(values.shape == (41, count) for values in found.values())
        np.testing.assert_allclose(found["bspline"].sum(-1), 1, atol=1e-12)
        chebyshev = np.polynomial.chebyshev.chebvander(x, count - 1)
        np.testing.assert_allclose(found["chebyshev"], chebyshev, atol=1e-12)
        waves = [
            np.cos(n // 2 * math.pi * x) if n % 2 == 0 else np.sin((n + 1) // 2 * math.pi * x) for n in range(count)
        ]
        np.testing.assert_allclose(found["fourier"], np.stack(waves, -1), atol=1e-12)
        at = np.linspace(-1, 1, count)
        np.testing.assert_allclose(found["hinge"][:, 1:], np.maximum(0, x[:, None] - at[:-1]), atol=1e-12)
        step = 2 / (count - 1)
        np.testing.assert_allclose(found["rbf"], np.exp(-(((x[:, None] - at) / step) ** 2)), atol=1e-12)
        assert all(np.linalg.matrix_rank(values) == count for values in found.values()), "no function twice"
    places = FAMILY["wavelet"](u, 8)[:, 1:].argmax(0)
    assert u[places].tolist() == pytest.approx([0, -0.5, 0.5, -0.75, -0.25, 0.25, 0.75])


@pytest.mark.parametrize("weights", ["separate", "shared"])
def test_a_kan_is_its_formula(weights):
    m, x = built("kan", weights, families=["rbf", "fourier"], functions=5, reach=1.5), given()
    y = torch.zeros_like(x)
    for n, o, i in itertools.product(range(3), range(4), range(4)):
        p = 0 if weights == "shared" else n
        c, mix = m.out.weight.view(-1, 4, 4, 2, 5)[p, o, i], m.mix[p].softmax(0)
        for f, name in enumerate(("rbf", "fourier")):
            y[:, :, n, o] += mix[f] * (FAMILY[name]((x[:, :, n, i] / 1.5).clamp(-1, 1), 5) @ c[f])
    torch.testing.assert_close(m(x), y)
    torch.testing.assert_close(m.clamped(x), (x.abs() > 1.5).float().mean(-1))


def test_a_kan_pruned_keeps_its_functions():
    m, x = built("kan", families=["rbf", "fourier", "hinge"]), given()
    alone = []
    for f in range(3):
        other = built("kan", families=["rbf", "fourier", "hinge"])
        with torch.no_grad():
            c = other.out.weight.view(3, 4, 4, 3, 8)
            c[..., [g for g in range(3) if g != f], :] = 0
        alone.append(other(x))
    torch.testing.assert_close(sum(alone), m(x))
    torch.testing.assert_close(m.pruned(["fourier"])(x), alone[1])
    each = m.pruned(["hinge", "rbf", "hinge"])
    torch.testing.assert_close(each(x), torch.stack([alone[(2, 0, 2)[n]][:, :, n] for n in range(3)], 2))
    assert each.out.weight.numel() * 3 == m.out.weight.numel()
    assert each.flops()["inner.matrices"] * 3 == m.flops()["inner.matrices"]
    torch.testing.assert_close(each.pruned(["rbf"]).out.weight, each.out.weight)
    with pytest.raises(InputError, match="no family 'wavelet' to keep; it has rbf, fourier, hinge"):
        m.pruned(["wavelet"])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_products_are_means_over_sets_of_factors(order):
    torch.manual_seed(0)
    m = Products(3, 4, terms=2, hidden=5, order=order).double()
    x = given()
    factors = m.constant + (torch.tanh(x[:, :, :, None, :, None] * m.scale + m.shift) * m.weight).sum(-1)
    sets = [torch.stack([factors[..., i] for i in s]).prod(0) for s in itertools.combinations(range(4), order)]
    torch.testing.assert_close(m(x), sum(sets) / len(sets))


def test_factors_start_near_one():
    torch.manual_seed(0)
    assert (Products(3, 4, terms=20)(given()) - 1).abs().mean() < 0.7
    assert sum(p.numel() for p in Products(1, 4, terms=4, hidden=8).parameters()) == 400


@pytest.mark.parametrize("kind", ["hourglass", "kan", "separable"])
def test_a_graph_begins_as_the_one_without(kind):
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    plain, graph = inn.Graph(**SMALL), inn.Graph(**SMALL, inner=kind)
    missing, unexpected = graph.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[2] for name in missing} == {"inner", "inner_norm"}
    assert torch.equal(graph(x)[0], plain(x)[0])
    with torch.no_grad():
        for p in graph.rounds[1].inner.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    assert not torch.equal(graph(x)[0], plain(x)[0])


@pytest.mark.parametrize("router", ["none", "attention", "dendrites"])
def test_it_comes_last_in_a_round_and_heeds_who_is_there(router):
    class Steady(Mamba):
        def forward(self, x, state, **options):
            y, new = super().forward(x, state, **options)
            return torch.zeros_like(y), new

    torch.manual_seed(0)
    with inn.registry.MEMORIES.lent("steady", Steady):
        graph = inn.Graph(neurons=4, width=4, rounds=1, router=router, memory="steady", inner="hourglass").eval()
    with torch.no_grad():
        for p in [*graph.rounds[0].inner.parameters(), graph.rounds[0].inner_norm.bias]:
            p.normal_()
    x = torch.randn(2, 5, 4, 4)
    there = torch.ones(2, 5, 4, dtype=torch.bool)
    there[:, 2, 1] = False
    x[:, 2, 1] = 0
    y = graph.run(x, present=there)[0]
    of = graph.rounds[0]
    torch.testing.assert_close(y, (x + of.inner(of.inner_norm(x))).masked_fill(~there[..., None], 0))


@pytest.mark.parametrize("kind", ["hourglass", "kan", "separable"])
def test_a_model_with_one_trains_steps_and_is_stored(kind, tmp_path):
    torch.manual_seed(0)
    model = inn.INN(vocab=11, **SMALL, recall=[1, 2], slots=64, inner=kind, share_rounds=True)
    tokens = torch.randint(11, (2, 12))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    model.graph.checkpoint_rounds = True
    for _ in range(8):
        loss = model.loss(model(tokens)[0][:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert model.graph.round(0).inner.out.weight.any(), "its way out learns"
    logits, state = model.eval()(tokens)[0], None
    for t in range(12):
        step, state = model.step_(tokens[:, t], state)
        torch.testing.assert_close(step, logits[:, t], rtol=1e-4, atol=1e-5)
    tree = RunConfig(model.config, DataConfig(), TrainConfig()).to_dict()
    assert RunConfig.from_dict(tree).model == model.config
    assert sum(n for name, n in model.flops().items() if name.startswith("inner.")) > 0
    population = [{"neurons": 1}, {"neurons": 2, "memory_options": {"state": 3}}]
    mixed = inn.INN(vocab=11, width=4, rounds=1, population=population, inner=kind).eval()
    assert mixed(tokens)[0].isfinite().all()


def test_what_a_kan_clamps_is_recorded():
    torch.manual_seed(0)
    model = inn.INN(vocab=11, **SMALL, inner="kan", inner_options={"reach": 1.0}).eval()
    tokens = torch.randint(11, (2, 12))
    with inn.record(model, "clamped") as tape:
        model(tokens)
    found = tape.mean("clamped")
    assert found.shape == (2, 3)
    assert 0.1 < found.mean() < 0.6, "a third of normal numbers, of a norm's output over four about a half at most"
    with inn.record(inn.INN(vocab=11, **SMALL, inner="hourglass"), "clamped") as tape:
        pass
    with pytest.raises(InputError, match="nothing was recorded of 'clamped'"):
        tape.mean("clamped")


def test_one_of_ones_own_is_configured_on_the_command_line():
    class Twice(inn.InnerMap):
        def forward(self, x):
            return x

        def flops(self):
            return {}

    with inn.registry.INNERS.lent("twice", Twice):
        check_inner("twice")
        assert resolve("text8-small", ["--model.inner", "twice"]).config.model.inner.kind == "twice"
    given = ["--model.inner", "kan", "--model.inner.families", "[rbf,hinge]", "--model.inner.reach", "2"]
    own = resolve("text8-small", given).config.model.inner
    assert (own.families, own.reach) == (["rbf", "hinge"], 2.0)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"inner": "khan"}, "cannot be 'khan'|unknown inner map 'khan'; did you mean 'kan'"),
        ({"inner": "kan", "inner_options": {"families": ["rbf", "splines"]}}, "families cannot have 'splines'"),
        ({"inner": "kan", "inner_options": {"families": []}}, "at least one of bspline"),
        ({"inner": "kan", "inner_options": {"families": ["rbf", "rbf"]}}, "lists one twice"),
        ({"inner": "kan", "inner_options": {"families": ["rbf"], "each": True}}, "one per neuron, 3, not 1"),
        ({"inner": "kan", "inner_options": {"reach": 0.0}}, "reach must be above 0"),
        ({"inner": "kan", "inner_options": {"functions": 3}}, "functions must be at least 4"),
        ({"inner": "hourglass", "inner_options": {"hidden": 16}}, "hidden 16 of an hourglass must be below the 16"),
        ({"inner": "separable", "inner_options": {"order": 5}}, "order 5 is more than the 4 numbers"),
        ({"inner": "hourglass", "inner_options": {"terms": 2}}, "'terms' belongs to inner map 'separable'"),
        ({"inner": "kan", "weights": "shared",
          "inner_options": {"families": ["rbf", "hinge", "rbf"], "each": True}}, "needs weights 'separate'"),
    ],
)  # fmt: skip
def test_bad_options_are_one_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        inn.graph_config(**SMALL, **options)


def test_it_is_applied_where_neurons_hear_what_was_said_before():
    torch.manual_seed(0)
    graph = inn.Graph(**SMALL, memory="gru", router_options={"lag": 1}, inner="hourglass").double().eval()
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    before = graph(x)[0]
    with torch.no_grad():
        for module in graph.rounds:
            module.inner.out.weight.normal_()
    y, _ = graph(x)
    assert not torch.allclose(y, before)
    first, state = graph(x[:, :4])
    torch.testing.assert_close(torch.cat([first, graph(x[:, 4:], state)[0]], 1), y)
    state = graph.initial_state(2).to(torch.float64)
    with torch.no_grad():
        steps = [graph.readout(graph.run_(graph.distribute(x[:, t : t + 1]), state)) for t in range(6)]
    torch.testing.assert_close(torch.cat(steps, 1), y)
