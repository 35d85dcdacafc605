"""Moments go where their numbers go; of runs of different lengths they are the same without their bias."""

import pytest
import torch

import inn
from inn.models.names import filed
from inn.surgery.merge import planned, put_together
from inn.surgery.moments import Moments, carried_moments
from inn.surgery.neurons import grow, keep


def trained(seed, steps, **fields):
    """A model and the moments of a few steps of Adam on random symbols."""
    torch.manual_seed(seed)
    model = inn.INN(**{"vocab": 9, "neurons": 3, "width": 8, "rounds": 1, "recall": [], **fields})
    model.graph.ids += 10 * seed
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, betas=(0.9, 0.99))
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randint(9, (2, 12)))[0].square().sum().backward()
        optimizer.step()
    found = {}
    for name, p in model.named_parameters():
        found |= {f"{filed(name)}/{key}": t for key, t in optimizer.state[p].items()}
    return model.eval(), Moments(found)


def marked_by_name(model, moments, kind):
    """The moments of a model by the names of its parameters."""
    return {name: moments.tensors[f"{filed(name)}/{kind}"] for name, _ in model.named_parameters()}


def test_merged_moments_are_each_ones_own_without_its_bias():
    (a, known_a), (b, known_b) = trained(1, 3), trained(2, 40)
    plan = planned([a, b])
    found, share = carried_moments(
        lambda *m: put_together(m, plan), [a, b], put_together([a, b], plan), [known_a, known_b]
    )
    assert 0.9 < share <= 1
    name = "backbone.rounds.0.memory.D"
    step = found[f"{filed(name)}/step"]
    assert step == 40
    for kind, beta in (("exp_avg", 0.9), ("exp_avg_sq", 0.99)):
        moment = found[f"{filed(name)}/{kind}"]
        own_a, own_b = (marked_by_name(m, known, kind)[name] for m, known in ((a, known_a), (b, known_b)))
        assert torch.equal(moment[3:], own_b)
        torch.testing.assert_close(moment[:3] / (1 - beta**40), own_a / (1 - beta**3))


@pytest.mark.parametrize("kept", [[0, 1, 2], [2], [0, 2]])
def test_kept_moments_are_those_of_the_numbers_that_stay(kept):
    model, known = trained(0, 4, readout="mean", router="bus")
    new = keep(model, kept)
    found, share = carried_moments(lambda m: keep(m, kept), [model], new, [known])
    assert share == 1 if len(kept) == 3 else 0.9 < share < 1  # a head that is put together anew has none
    for kind in ("exp_avg", "exp_avg_sq"):
        own = marked_by_name(model, known, kind)
        read = own["backbone.rounds.0.router.read"][kept][:, :, kept]
        assert torch.equal(found[f"graph.rounds.0.router.read/{kind}"], read)
        assert torch.equal(found[f"embedding.weight/{kind}"].unflatten(1, (-1, 8)),
                           own["embedding.weight"].unflatten(1, (-1, 8))[:, kept])  # fmt: skip


def test_new_numbers_have_none_and_a_step_is_as_long_as_it_was():
    model, known = trained(0, 4)
    found, share = carried_moments(lambda m: grow(m, 1), [model], new := grow(model, 1), [known])
    assert 0.3 < share < 1
    assert "norm.gain/exp_avg" not in found
    name = "backbone.rounds.0.memory.A_log"
    moment = found[f"{filed(name)}/exp_avg"]
    assert moment.shape == new.get_parameter(name).shape
    assert torch.equal(moment[:3], marked_by_name(model, known, "exp_avg")[name])
    assert not moment[3:].any()
