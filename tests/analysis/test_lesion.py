"""Lesions do what they say, worked out by hand: closed edges, averages, rounds left out, nothing recalled."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis.lesions.lesion import averaging, cut, forgetful, mean_replaced, silenced, skipped
from inn.config.assemble import stored_model
from inn.system.errors import InputError

ROUTERS = ["dendrites", "attention", "bus", "mixing", "static"]


def model(**fields):
    torch.manual_seed(0)
    fields = {"neurons": 3, "width": 8, "rounds": 2, "recall": [2], "slots": 64, "zero_start": False, **fields}
    return inn.INN(stored_model({"vocab": 11, **fields})).eval()


def tokens(*shape):
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(m, x):
    return m(x)[0]


def averages_of(m, x):
    with torch.no_grad(), averaging(m) as averages:
        m(x)
    return averages()


def test_silence_is_zero_weights_from_the_neuron():
    m, x = model(), tokens(2, 20)
    with silenced(m, [1]):
        ours = logits(m, x)
    by_hand = model()
    with torch.no_grad():
        for round_ in by_hand.graph.rounds:
            weight = round_.router.hear.weight  # [to, 2E, from x D]
            weight[0, :, 8:16] = weight[2, :, 8:16] = 0.0
        found, _ = by_hand.graph.run(by_hand.embed(x) + by_hand.recall(x, None)[0])
        found[:, :, 1] = 0.0
        theirs = by_hand.logits(found)
    torch.testing.assert_close(ours, theirs)


LESIONS = {
    "silenced": lambda m, x: silenced(m, [0]),
    "cut": lambda m, x: cut(m, [(0, 1)]),
    "cut in a round": lambda m, x: cut(m, [(0, 1)], rounds=[1]),
    "communication": lambda m, x: skipped(m, 0, "communication"),
    "round": lambda m, x: skipped(m, 1),
    "forgetful": lambda m, x: forgetful(m, [0]),
    "mean": lambda m, x: mean_replaced(m, [0], averages_of(m, x)),
}


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("lesion", LESIONS)
def test_only_while_the_block_runs(router, lesion):
    m, x = model(router=router, heads=2), tokens(2, 20).repeat(1, 2)
    before = logits(m, x)
    with LESIONS[lesion](m, x):
        during = logits(m, x)
    assert torch.equal(before, logits(m, x))
    assert not torch.allclose(before, during)
    with pytest.raises(RuntimeError), LESIONS[lesion](m, x):
        raise RuntimeError
    assert torch.equal(before, logits(m, x))


@pytest.mark.parametrize("lesion", LESIONS)
def test_lesions_hold_in_any_split_and_symbol_by_symbol(lesion):
    m, x = model(), tokens(2, 16).repeat(1, 2)
    with LESIONS[lesion](m, x):
        whole = logits(m, x)
        with torch.no_grad():
            first, state = m(x[:, :9])
            second, _ = m(x[:, 9:], state)
            steps, state = [], None
            for t in range(x.shape[1]):
                at, state = m.step_(x[:, t], state)
                steps.append(at)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=1e-4, atol=1e-5)


def test_lesions_can_be_nested():
    m, x = model(), tokens(2, 20).repeat(1, 2)
    means = averages_of(m, x)
    for one, other, both in (
        (silenced(m, [0]), silenced(m, [2]), silenced(m, [0, 2])),
        (forgetful(m, [0]), forgetful(m, [2]), forgetful(m, [0, 2])),
        (cut(m, [(0, 1)]), cut(m, [(1, 0)]), cut(m, [(0, 1), (1, 0)])),
    ):
        with one:
            alone = logits(m, x)
            with other:
                nested = logits(m, x)
            assert torch.equal(logits(m, x), alone)
        with both:
            assert torch.equal(logits(m, x), nested)
    plain = logits(m, x)
    with mean_replaced(m, [0], means):
        one = logits(m, x)
        with mean_replaced(m, [1], means):
            pass
        assert torch.equal(logits(m, x), one)
    assert torch.equal(logits(m, x), plain)


def test_silencing_all_leaves_the_bias():
    m, x = model(), tokens(1, 5)
    with silenced(m, [0, 1, 2]):
        found = logits(m, x)
    torch.testing.assert_close(found, m.head(m.norm.bias[None, None]).expand_as(found))


def test_cutting_all_that_a_neuron_says_and_its_readout_is_silence():
    m, x = model(), tokens(2, 20)
    with torch.no_grad(), cut(m, [(0, 1), (2, 1)]):
        found, _ = m.graph.run(m.embed(x) + m.recall(x, None)[0])
        found[:, :, 1] = 0.0
        by_hand = m.logits(found)
    with silenced(m, [1]):
        torch.testing.assert_close(logits(m, x), by_hand)


@pytest.mark.parametrize("share", [False, True])
def test_an_edge_in_one_round_is_that_rounds_alone(share):
    m, x = model(router="mixing", share_rounds=share, recall=[]), tokens(2, 20)
    with torch.no_grad():
        y, state = m.embed(x), m.graph.initial_state(2)
        for r in range(2):  # by hand: the weight is zero while round 1 runs
            weights = m.graph.round(r).router.weights
            kept = weights[0, 2].item()
            if r == 1:
                weights[0, 2] = 0.0
            y, _, _ = m.graph.round(r)(y, state.round(r))
            weights[0, 2] = kept
        by_hand = m.logits(y)
    with cut(m, [(0, 2)], rounds=[1]):
        torch.testing.assert_close(logits(m, x), by_hand)
    with cut(m, [(0, 2)], rounds=[0, 1]):
        everywhere = logits(m, x)
    with cut(m, [(0, 2)]):
        assert torch.equal(logits(m, x), everywhere)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("router", [*ROUTERS, "none"])
def test_a_round_left_out_is_a_graph_of_the_others(router, share):
    m, x = model(router=router, heads=2, share_rounds=share, recall=[]), tokens(2, 20)
    with torch.no_grad():
        y, _, _ = m.graph.round(1)(m.embed(x), m.graph.initial_state(2).round(1))
        by_hand = m.logits(y)
    with skipped(m, 0):
        torch.testing.assert_close(logits(m, x), by_hand)


@pytest.mark.parametrize("update", ["sequential", "message-norm", "parallel"])
def test_without_its_communication_a_round_is_its_memory(update):
    m, x = model(router="attention", heads=2, update=update, recall=[]), tokens(2, 20)
    with torch.no_grad():
        if update == "message-norm":
            m.graph.round(0).router_norm.bias.fill_(0.5)
        y, state = m.embed(x), m.graph.initial_state(2)
        part = m.graph.round(0)
        y = y + part.memory(part.memory_norm(y), state.round(0))[0]
        y, _, _ = m.graph.round(1)(y, state.round(1))
        by_hand = m.logits(y)
    with skipped(m, 0, "communication"):
        torch.testing.assert_close(logits(m, x), by_hand)


def test_dendrites_without_communication_keep_their_own_input():
    m, x = model(recall=[]), tokens(2, 20)
    with skipped(m, 1, "communication"):
        found = logits(m, x)
    with torch.no_grad():
        weight = m.graph.round(1).router.hear.weight.view(3, -1, 3, 8)
        for to in range(3):
            for source in range(3):
                if to != source:
                    weight[to, :, source] = 0.0
    torch.testing.assert_close(found, logits(m, x))


def test_a_forgetful_neuron_is_one_whose_tables_are_empty():
    m, x = model(recall=[1, 2, 3]), tokens(2, 8).repeat(1, 3)
    with torch.no_grad(), forgetful(m, [1]):
        found, state, _ = m.recall(x, None)
    with torch.no_grad():
        plain, same, _ = m.recall(x, None)
        nothing, _ = m.recall.read_(x, m.recall.initial_state(2), remember=False)
    assert torch.equal(found[:, :, [0, 2]], plain[:, :, [0, 2]])
    assert torch.equal(found[:, :, 1], nothing[:, :, 1])
    assert not torch.equal(found, plain)
    assert all(torch.equal(state[name], same[name]) for name in same)  # the tables go on filling


def test_averages_are_those_of_the_full_tensors_in_any_split():
    m, x = model(gate="soft"), tokens(2, 20)
    kept = {}
    for r in range(2):
        m.graph.round(r).router.register_forward_pre_hook(
            lambda _, args, options, r=r: kept.update({r: (args[0], options["gate"])}), with_kwargs=True
        )
    whole = averages_of(m, x)
    heard = torch.stack([kept[r][0].mean((0, 1)) for r in range(2)])
    torch.testing.assert_close(whole.heard, heard)
    torch.testing.assert_close(whole.gates, torch.stack([kept[r][1].mean((0, 1)) for r in range(2)]))
    with inn.record(m, "outputs") as tape, torch.no_grad():
        m(x)
    torch.testing.assert_close(whole.spoken, tape.last_outputs.mean((0, 1)))
    with torch.no_grad(), averaging(m) as parts:
        _, state = m(x[:, :7])
        m(x[:, 7:], state)
    torch.testing.assert_close(parts().heard, whole.heard, rtol=1e-4, atol=1e-6)
    with averaging(m) as nothing, pytest.raises(InputError, match="nothing was averaged"):
        nothing()


@pytest.mark.parametrize("router", ["mixing", "bus"])
def test_others_hear_the_average_and_the_neuron_hears_itself(router):
    m, x = model(router=router, rounds=1, recall=[]), tokens(2, 20)
    means = averages_of(m, x)
    part, said = m.graph.round(0), {}
    part.router_norm.register_forward_hook(lambda _, args, result: said.update(x=result))
    part.router.register_forward_hook(lambda _, args, result: said.update(message=result[0]))
    with torch.no_grad():
        m(x)
        replaced = said["x"].clone()
        replaced[:, :, 1] = means.heard[0, 1]
        others, _ = part.router.forward(replaced)
        own, _ = part.router.forward(said["x"])
    with mean_replaced(m, [1], means):
        logits(m, x)
    torch.testing.assert_close(said["message"][:, :, [0, 2]], others[:, :, [0, 2]])
    torch.testing.assert_close(said["message"][:, :, 1], own[:, :, 1])


def test_replacing_all_neurons_leaves_nothing_of_the_text():
    m, x = model(), tokens(2, 20)
    with mean_replaced(m, [0, 1, 2], averages_of(m, x)):
        found = logits(m, x)
    torch.testing.assert_close(found, found[:1, :1].expand_as(found))


def test_a_constant_neuron_is_its_own_average():
    m, x = model(recall=[]), torch.zeros(1, 20).long()  # one symbol over and over
    with torch.no_grad():
        _, state = m(torch.zeros(1, 4000).long())
        with averaging(m) as averages:
            plain, _ = m(x, state)
        with mean_replaced(m, [1], averages()):
            replaced, _ = m(x, state)
    torch.testing.assert_close(plain, replaced, rtol=1e-4, atol=1e-5)


def test_mistakes():
    m = model()
    with pytest.raises(InputError, match="no neuron 3 to silence among 3"), silenced(m, [3]):
        pass
    with pytest.raises(InputError, match="no neuron -1 to cut an edge of"), cut(m, [(0, -1)]):
        pass
    with pytest.raises(InputError, match="no round 2 among 2"), cut(m, [(0, 1)], rounds=[2]):
        pass
    with pytest.raises(InputError, match="no round -1 among 2"), skipped(m, -1):
        pass
    with pytest.raises(InputError, match="'memory' of a round cannot be skipped"), skipped(m, 0, "memory"):
        pass
    with pytest.raises(InputError, match="do not communicate"), skipped(model(router="none"), 0, "communication"):
        pass
    with pytest.raises(InputError, match="recalls nothing"), forgetful(model(recall=[]), [0]):
        pass
    with pytest.raises(InputError, match="no neuron 9 to make forgetful"), forgetful(m, [9]):
        pass
    with pytest.raises(InputError, match="no neuron 3 to replace"), mean_replaced(m, [3], averages_of(m, tokens(1, 9))):
        pass
    for lesion in (silenced(torch.nn.Linear(1, 1), [0]), skipped(torch.nn.Linear(1, 1), 0)):
        with pytest.raises(InputError, match="a Linear has no neurons to"), lesion:
            pass
    with pytest.raises(InputError, match="has 2 graphs"), skipped(torch.nn.ModuleList([m, model()]), 0):
        pass
