"""The chain, and a readout after each of its links: who is absent is passed by, stream by stream and step by step."""

from __future__ import annotations

import io

import pytest
import torch

import inn
from inn.analysis import cut
from inn.config.signals import SignalConfig
from inn.models.build import build_model
from inn.nn.presence import relays
from inn.nn.topology.base import edges_of
from inn.system.errors import InputError
from inn.testing import check_topology
from inn.training.objectives.base import Context, MicroBatch
from inn.training.objectives.predict import Predict

FIELDS = {"neurons": 4, "width": 6, "rounds": 3, "topology": "chain", "memory": "none"}


def loud(module):
    """The module with weights that are all moved, in float64."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape) * 0.3)
    return module.double().eval()


def graph(**fields):
    torch.manual_seed(0)
    return loud(inn.Graph(**{**FIELDS, **fields}))


def signal(**fields):
    """A start and three links that read two channels each, with a readout after every one."""
    torch.manual_seed(0)
    return loud(build_model(SignalConfig(**{
        **FIELDS, "features": 6, "outputs": 2, "head": "classes", "channels": "split", "identity": "embedding",
        "topology": {"kind": "chain", "sensors": [1, 2, 3]}, "readout": {"kind": "each", "change": 0.5}, **fields,
    })))  # fmt: skip


def some(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) > 0.4


def test_who_hears_whom():
    dense = edges_of(inn.graph_config(**FIELDS)).dense().int().tolist()
    assert dense == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    edges = edges_of(inn.graph_config(**{**FIELDS, "neurons": 6}, topology_options={"size": 2}))
    assert edges.dense()[4].int().tolist() == [0, 0, 1, 1, 1, 1]
    assert edges.dense()[1].int().tolist() == [1, 1, 0, 0, 0, 0]
    check_topology("chain", size=2)


@pytest.mark.parametrize("places", [1, 2])
def test_in_the_place_of_who_is_absent_the_last_one_before_is_heard(places):
    present, passing = some(3, 2, 8), some(8, seed=1)
    who, there = relays(present, places, passing)
    for b, t, n in torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(8)).tolist():
        at: int | None = n
        while at is not None and not present[b, t, at]:
            at = at - places if passing[at] and at >= places else None
        assert bool(there[b, t, n]) == (at is not None)
        assert at is None or who[b, t, n] == at


def without(whole, absent):
    """The chain that was made without some neurons, with the weights of the others."""
    kept = [n for n in range(4) if n not in absent]
    less = inn.Graph(**{**FIELDS, "neurons": len(kept)}).double().eval()
    state = {name: t for name, t in whole.state_dict().items() if not name.startswith("edge")}
    less.load_state_dict({n: t[kept] if t.shape[:1] == (4,) else t for n, t in state.items()}, strict=False)
    if 0 in absent:  # the first hears itself alone: in its first place, where others hear who is before them
        for module, old in zip(less.rounds, whole.rounds):
            hear, own = module.router.hear.weight.data, old.router.hear.weight.data[kept[0]]
            hear[0] = torch.cat((own[:, 6:], own[:, :6]), 1)
    return less, kept


def test_it_is_as_if_the_chain_had_been_made_without_the_absent():
    """Of every stream and step, with their own absences."""
    whole, x, present = graph(), torch.randn(3, 4, 24, dtype=torch.float64), some(3, 4, 4)
    present[..., 3] |= present.sum(-1) < 2
    present[..., 2] |= present.sum(-1) < 2
    y = whole(x, present=present)[0].unflatten(-1, (4, 6))
    patterns = set()
    for b, t in torch.cartesian_prod(torch.arange(3), torch.arange(4)).tolist():
        absent = tuple((~present[b, t]).nonzero().flatten().tolist())
        less, kept = without(whole, absent)
        alone = less(x[b, t].unflatten(-1, (4, 6))[kept].flatten()[None, None])[0].unflatten(-1, (-1, 6))
        torch.testing.assert_close(y[b, t, kept], alone[0, 0], rtol=1e-9, atol=1e-9)
        patterns.add(absent)
    assert len(patterns) > 4


@pytest.mark.parametrize("router", ["dendrites", "attention", "mixing", "static", "bus", "mixture"])
@pytest.mark.parametrize("lag", [0, 1])
def test_what_is_before_reaches_what_is_behind_across_the_absent(router, lag):
    made = graph(router=router, router_options={"lag": lag} | ({"heads": 2} if router == "attention" else {}))
    x = torch.randn(2, 4, 24, dtype=torch.float64)
    there = torch.ones(2, 4, 4, dtype=torch.bool)
    there[0, :, 1:3] = False  # of the first stream alone
    changed = x.clone()
    changed[..., 0] += 1
    y, moved = (made(z, present=there)[0].unflatten(-1, (4, 6)) for z in (x, changed))
    far = (y - moved)[:, -1, 3].abs().amax(-1)
    assert (far > 1e-7).all()
    assert not (y - moved)[0, :, 1:3].any()
    parts, state = [], None
    for at in (slice(0, 1), slice(1, 4)):
        part, state = made(x[:, at], state, present=there[:, at])
        parts.append(part.unflatten(-1, (4, 6)))
    torch.testing.assert_close(torch.cat(parts, 1), y)
    with cut(made, [(2, 1)]):  # the link to the third neuron is cut: the first stream's message passes over it, too
        y, moved = (made(z, present=there)[0].unflatten(-1, (4, 6)) for z in (x, changed))
    assert not (y - moved)[..., 3, :].any()


def test_a_neuron_that_rests_passes_on():
    made = graph(gate="active", memory="gru", share_rounds=True)
    gate = made.rounds[0].gate
    x, changed = torch.randn(1, 1, 24, dtype=torch.float64).expand(2, -1, -1).clone().unbind(0)
    changed[..., 0] += 1
    asked = gate.forward

    def resting(*args, **options):
        awake, factor, penalties = asked(*args, **options)
        return torch.tensor([True, False, False, True]).expand_as(awake), torch.ones_like(factor), penalties

    gate.forward = resting
    moved = (made(x[None])[0] - made(changed[None])[0]).unflatten(-1, (4, 6))[0, 0]
    assert moved[3].abs().max() > 1e-7
    assert not moved[1:3].any()


def missing(x):
    """Signals with parts missing: the last of stream 1, the first of stream 2, the second of stream 3 at a step."""
    x = x.clone()
    x[1, :, 4:], x[2, :, :2], x[3, 1, 2:4] = torch.nan, torch.nan, torch.nan
    return x


def test_views_before_an_absence_are_the_same_bits_and_that_of_the_absent_is_the_one_before():
    model, x = signal(), torch.randn(4, 3, 6, dtype=torch.float64)
    whole, gone = model(x, every=True)[0], model(missing(x), every=True)[0]
    assert whole.shape == (4, 3, 4, 2)
    assert torch.equal(gone[1, :, :3], whole[1, :, :3])
    assert torch.equal(gone[1, :, 3], gone[1, :, 2])
    assert torch.equal(gone[2, :, 1], whole[2, :, 0])  # the start's
    assert not torch.isclose(gone[2, :, 2:], whole[2, :, 2:]).any()
    assert torch.equal(gone[3, [0, 2]], whole[3, [0, 2]])
    torch.testing.assert_close(model(missing(x))[0], gone[:, :, -1])
    assert len(torch.unique(gone[:, :, 0], dim=0)) == 1  # the start is learned, and nobody's


def test_split_step_mask_and_reset():
    model, x = signal(memory="gru"), missing(torch.randn(4, 5, 6, dtype=torch.float64))
    whole, _ = model(x, every=True)
    first, state = model(x[:, :2], every=True)
    torch.testing.assert_close(torch.cat((first, model(x[:, 2:], state, every=True)[0]), 1), whole)
    state = model.initial_state(4)
    for t in range(5):
        step, state = model.step_(x[:, t], state)
        torch.testing.assert_close(step, whole[:, t, -1])
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[:, 2] = False
    on = [0, 1, 3, 4]
    torch.testing.assert_close(model(x, mask=mask, every=True)[0][:, on], model(x[:, on], every=True)[0])
    torch.testing.assert_close(model(x, reset=~mask, every=True)[0][:, 2:], model(x[:, 2:], every=True)[0])


def test_the_loss_is_the_mean_over_the_views_and_the_price_of_change():
    model, x = signal(), missing(torch.randn(4, 3, 6, dtype=torch.float64))
    targets = torch.randint(2, (4, 3))
    context = Context(model, model, None, None, 1)  # type: ignore[arg-type]
    found = Predict(None, context, None).loss(MicroBatch(x, targets))  # type: ignore[arg-type]
    each = model(x, every=True)[0]
    bar = sum(torch.nn.functional.cross_entropy(each[:, :, k].flatten(0, 1), targets.flatten()) for k in range(4)) / 4
    torch.testing.assert_close(found.nats / 12, bar.to(found.nats.dtype), rtol=1e-5, atol=1e-6)
    model.train()
    inside = model.backbone
    present = model.present(x)
    read = inside(model.enter(x), present=present)[0].unflatten(-1, (4, 6))
    price = 0.5 * (read[:, :, 1:] - read[:, :, :-1]).square().sum(-1).mean()
    torch.testing.assert_close(model(x)[1].penalties["change"], price)
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[:, 2] = False
    torch.testing.assert_close(model(x, mask=mask)[1].penalties["change"], model(x[:, :2])[1].penalties["change"])


def test_saved_exported_and_recorded():
    model, x = signal(), missing(torch.randn(4, 3, 6, dtype=torch.float64))
    bar = model(x)[0]
    again = signal(identity_std=1.0)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x)[0], bar)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (x,)), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(x)[0], bar)
    with inn.record(model, "routing") as tape:
        torch.testing.assert_close(model(x)[0], bar)
    assert (tape.mean("routing")[:, :, ~model.graph.edges.dense()] == 0).all()


def test_a_language_model_tells_by_every_link():
    torch.manual_seed(0)
    model = loud(inn.INN(vocab=9, neurons=6, width=4, rounds=2, topology={"kind": "chain", "size": 2}, readout="each"))
    tokens = torch.randint(9, (2, 5))
    every, last = model(tokens, every=True)[0], model(tokens)[0]
    assert every.shape == (2, 5, 3, 9)
    torch.testing.assert_close(every[:, :, -1], last)
    torch.testing.assert_close(model.predict(model.hidden(tokens)[0]), last)


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"neurons": 1}, "needs two links or more of 1 neurons"),
    ({"topology": {"kind": "chain", "size": 3}}, "4 neurons are not; set neurons to a multiple of size"),
    ({"topology": {"kind": "chain", "size": 0}}, "size must be at least 1"),
    ({"rounds": 2}, "a chain of 4 links needs 3 rounds, not 2, .*; set rounds to 3"),
    ({"topology": "ring", "readout": "each"}, "topology 'ring' has none; set topology chain"),
    ({"router": "none", "topology": "complete", "readout": "each"}, "set topology chain, or another readout"),
    ({"readout": {"kind": "each", "read": [1]}}, "at least two of them, .* unlike \\[1\\]; name all"),
    ({"topology": {"kind": "chain", "size": 2}, "readout": {"kind": "each", "read": [0, 1, 2]}}, "links as a whole"),
    ({"readout": {"kind": "each", "change": -1.0}}, "change must be at least 0"),
])  # fmt: skip
def test_what_makes_no_chain_is_refused(fields, sentence):
    with pytest.raises(InputError, match=sentence):
        inn.graph_config(**{**FIELDS, **fields})


def test_what_has_one_view_is_not_asked_for_every_one():
    model = build_model(SignalConfig(features=2, neurons=2, width=4, rounds=1))
    with pytest.raises(InputError, match="one view, which it tells of anyhow; leave `every` out"):
        model(torch.randn(1, 2, 2), every=True)
    assert inn.graph_config(**{**FIELDS, "rounds": 1, "router_options": {"lag": 1}}).rounds == 1
