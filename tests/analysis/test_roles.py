"""Activity, degree, traces and the shuffled-identity control, on cases made by hand."""

import math

import pytest
import torch

import inn
from inn.analysis import (
    effective_degree,
    received,
    relabelled,
    relative,
    shuffled_identities,
    shuffled_sources,
    sparsity,
    thresholded_degree,
)
from inn.analysis.recording.record import record
from inn.analysis.recording.trace import trace

SMALL = {
    "vocab": 27,
    "neurons": 4,
    "width": 16,
    "rounds": 2,
    "heads": 2,
    "router": "attention",
    "recall": [],
    "zero_start": False,
}
HUB = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])


def test_sparsity_counts_pairs_below_the_threshold():
    activity = torch.tensor([[[0.09, 0.2], [0.1, 0.3]], [[0.0, 0.0], [0.0, 1.0]]])  # [R, symbols, N]
    assert sparsity(activity).tolist() == [0.25, 0.75]
    assert sparsity(activity, threshold=0.25).tolist() == [0.75, 0.75]


def test_relative_activity_does_not_depend_on_the_scale():
    activity = torch.rand(2, 50, 3)
    assert relative(activity).mean((1, 2)).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(relative(activity * 7), relative(activity))


def test_received_is_the_column_sum_over_its_mean():
    assert received(HUB).tolist() == pytest.approx([0.5, 2.5, 0.0])
    assert received(torch.full((2, 5, 5), 0.2)).tolist() == [pytest.approx([1.0] * 5)] * 2


def test_effective_degree_is_the_exponential_of_the_entropy():
    assert effective_degree(HUB).tolist() == pytest.approx([1, 1, 2])
    assert effective_degree(torch.full((5, 5), 0.2)).tolist() == pytest.approx([5] * 5)
    skewed = torch.tensor([[0.9, 0.1]])
    assert effective_degree(skewed).item() == pytest.approx(math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1)))
    assert effective_degree(skewed * 3).item() == pytest.approx(effective_degree(skewed).item())


def test_degree_at_a_symbol_and_of_the_average_differ():
    in_turn = torch.stack([torch.eye(3)[[0, 0, 0]], torch.eye(3)[[1, 1, 1]], torch.eye(3)[[2, 2, 2]]])
    assert effective_degree(in_turn).mean().item() == pytest.approx(1)
    assert effective_degree(in_turn.mean(0)).mean().item() == pytest.approx(3)


def test_thresholded_degree_counts_edges_above_a_share_of_uniform():
    assert thresholded_degree(HUB).tolist() == [1, 1, 2]
    assert thresholded_degree(torch.full((4, 4), 0.25)).tolist() == [4] * 4
    row = torch.tensor([[0.6, 0.3, 0.1]])
    assert [thresholded_degree(row, share).item() for share in (0.2, 0.5, 1.0)] == [3, 2, 1]


def test_a_trace_keeps_what_a_tape_averages_in_the_order_of_the_text():
    torch.manual_seed(0)
    model = inn.INN(**SMALL).eval()
    tokens = torch.randint(27, (1, 20))
    with record(model, "routing", "activity") as tape:
        model(tokens)
    with trace(model, "routing", "activity") as passage:
        _, state = model(tokens[:, :7])
        model(tokens[:, 7:], state)
    assert passage.values("routing").shape == (2, 20, 2, 4, 4)
    for channel in ("routing", "activity"):
        torch.testing.assert_close(passage.values(channel).double().mean(1), tape.mean(channel), rtol=1e-5, atol=1e-6)
    with trace(model, "activity") as first:
        model(tokens[:, :1])
    torch.testing.assert_close(passage.values("activity")[:, :1], first.values("activity"), rtol=1e-5, atol=1e-6)
    assert model.graph.tape is None
    with pytest.raises(inn.InputError, match="nothing was recorded of 'gate'"):
        passage.values("gate")


@pytest.mark.parametrize("router", ["dendrites", "bus"])
def test_the_sizes_of_single_messages_have_the_root_mean_square_that_a_tape_tells(router):
    torch.manual_seed(0)
    model = inn.INN(vocab=27, neurons=4, width=8, rounds=2, router=router, recall=[]).eval()
    tokens = torch.randint(27, (2, 20))
    mask = torch.rand(2, 20) < 0.7
    with record(model, "routing") as tape:
        model(tokens, mask=mask)
    with trace(model, "routing") as passage:
        model(tokens, mask=mask)
    assert passage.symbols == tape.symbols == int(mask.sum())
    assert passage.values("routing").shape == (2, int(mask.sum()), 1, 4, 4)
    root = passage.values("routing").double().square().mean(1).sqrt()
    torch.testing.assert_close(root, tape.mean("routing"), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(passage.mean("routing"), tape.mean("routing"))


def test_relabelling_moves_both_ends_of_an_edge():
    blocks = torch.arange(9.0).view(1, 1, 3, 3)
    order = torch.tensor([[2, 0, 1]])
    assert torch.equal(relabelled(blocks, order, axes=2)[0, 0], blocks[0, 0][[2, 0, 1]][:, [2, 0, 1]])
    loud = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])  # [K, R, N]
    orders = torch.tensor([[2, 0, 1], [0, 1, 2]])
    assert relabelled(loud, orders, axes=1).tolist() == [[[3, 1, 2]], [[4, 5, 6]]]


def spread(weights):
    return float(received(weights.mean(0)).std(correction=0))


def test_a_steady_hub_is_no_chance_and_a_wandering_one_is():
    maps = torch.full((16, 2, 4, 4), 0.2)  # [K, R, N, N]
    maps[..., 1] = 0.4
    steady = shuffled_identities(maps, spread, axes=2, draws=200)
    assert steady.p == pytest.approx(1 / 201)
    assert steady.observed > 2 * steady.high > 2 * steady.mean > 0
    orders = torch.rand(16, 4, generator=torch.Generator().manual_seed(3)).argsort(-1)
    wandering = shuffled_identities(relabelled(maps, orders, axes=2), spread, axes=2, draws=200)
    assert wandering.p > 0.05


def test_shuffling_neurons_that_have_no_identity_is_fair():
    """Under the null hypothesis p is spread evenly: no more than a tenth lies below a tenth."""
    generator = torch.Generator().manual_seed(0)
    found = [
        shuffled_identities(torch.rand(8, 3, 4, generator=generator), lambda a: float(a.mean(0).std()), 1, 99, seed).p
        for seed in range(100)
    ]
    assert 0.02 <= sum(p <= 0.1 for p in found) / 100 <= 0.2
    assert 0.4 <= sum(found) / 100 <= 0.6


def test_equal_neurons_are_equal_under_every_shuffle():
    null = shuffled_identities(torch.full((8, 2, 3, 3), 1 / 3), spread, axes=2, draws=50)
    assert null.p == 1
    assert null.observed == pytest.approx(0, abs=1e-6)


def test_sources_that_are_told_apart_are_no_chance_and_their_wiring_stays():
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    maps = torch.rand(16, 2, 4, 4, generator=generator) * edges
    maps /= maps.sum(-1, keepdim=True)
    wandering, one = shuffled_sources(maps, edges, draws=200)
    mean = maps.mean(0)
    rows = [[mean[r, i][edges[i]] for i in range(4)] for r in range(2)]  # by hand: within its row, over the mean share
    apart = torch.cat([row - row.mean() for of_round in rows for row in of_round])
    middle = torch.cat([row for of_round in rows for row in of_round]).mean()
    assert wandering.observed == pytest.approx(float(apart.square().mean().sqrt() / middle), rel=1e-5)
    assert wandering.p > 0.05
    assert not one[~edges].any()
    assert torch.allclose(one.sum(-1), torch.ones(4))
    steady, _ = shuffled_sources(maps + torch.tensor([0.0, 0.5, 0.0, 0.0]) * edges, edges, draws=200)
    assert steady.p == pytest.approx(1 / 201)
    assert steady.observed > 1.5 * steady.high > 1.5 * steady.mean > 0
