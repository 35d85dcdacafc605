"""An INN of separate weights made communal: exact where nothing has to be lost, near where little has."""

from __future__ import annotations

import pytest
import torch

from inn import INN
from inn.surgery.communal import communal, moments_of
from inn.system.errors import InputError

OPTIONS = {"attention": {"heads": 2, "zero_start": False}, "bus": {"bus_width": 6, "zero_start": False}}
"""What routers are given here; messages say something from the start."""


def separate(router="dendrites", **fields):
    torch.manual_seed(0)
    given = {"vocab": 11, "neurons": 4, "width": 8, "rounds": 2, **OPTIONS.get(router, {}), **fields}
    return INN(router=router, **given, recall_options={"width": 4}).eval()


def text(rows=8, length=64):
    return torch.randint(11, (rows, length), generator=torch.Generator().manual_seed(1))


def low_rank(model, rank):
    """Give the maps that dendrites hear through weights that `rank` input states are enough for."""
    with torch.no_grad():
        for r in model.graph.rounds:
            w = r.router.hear.weight
            reads = torch.randn(rank, w.shape[2]) / w.shape[2] ** 0.5
            w.copy_(torch.randn(w.shape[0], w.shape[1], rank) @ reads)
    return model


def test_states_that_suffice_lose_nothing():
    model, draws = low_rank(separate(), 6), torch.get_rng_state()
    small, lost = communal(model, text(), 0.35)
    assert torch.equal(torch.get_rng_state(), draws)
    assert small.config.communal_states >= 6
    assert max(lost.values()) < 1e-10
    torch.testing.assert_close(small(text(2))[0], model(text(2))[0], atol=1e-4, rtol=1e-4)
    assert small.num_parameters < 0.75 * model.num_parameters


@pytest.mark.parametrize("router", ["dendrites", "attention", "bus", "none"])
def test_more_states_lose_less(router):
    model = separate(router)
    before = [t.clone() for t in model.parameters()]
    wanted = model(text(2))[0]
    gaps, sizes = [], []
    for keep in (0.25, 0.5, 0.9):
        small, _ = communal(model, text(), keep)
        gaps.append((small(text(2))[0] - wanted).square().mean().item())
        sizes.append(small.num_parameters)
    assert gaps[0] > gaps[1] > gaps[2]
    assert sizes[0] < sizes[1] < sizes[2]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_keep_is_the_share_of_what_is_read_through():
    model = separate(neurons=8, width=16)
    small, _ = communal(model, text(), 0.5)

    def reading(m):
        return sum(p.numel() for name, p in m.named_parameters() if ".hear." in name)

    assert reading(small) / reading(model) == pytest.approx(0.5, abs=0.01)
    others = {name: p for name, p in small.named_parameters() if ".hear." not in name}
    assert all(torch.equal(p, model.get_parameter(name)) for name, p in others.items())


def test_dendrites_all_read_one_input():
    moments = moments_of(separate(), text(), lambda done, of: None)
    assert list(moments) == [f"backbone.rounds.{r}.router.hear" for r in range(2)]
    assert all(m is each[0] for each in moments.values() for m in each)
    apart = moments_of(separate("attention"), text(), lambda done, of: None)
    assert {path.rsplit(".", 1)[1] for path in apart} == {"in_proj", "query", "key", "value"}
    assert not torch.equal(*apart["backbone.rounds.0.memory.in_proj"][:2])


def test_shared_rounds_are_one_map():
    small, lost = communal(separate(share_rounds=True), text(), 0.5)
    assert list(lost) == ["backbone.rounds.0.router.hear"]
    assert small(text(1))[0].isfinite().all()


@pytest.mark.parametrize(
    ("model", "keep", "message"),
    [
        (lambda: separate(weights="shared", input="copy"), 0.5, "weights 'shared'"),
        (lambda: separate(weights="communal", communal_states=4), 0.5, "weights 'communal'"),
        (lambda: separate(neurons=1), 0.5, "1 neurons"),
        (separate, 0, "keep must be"),
        (separate, 1.5, "keep must be"),
    ],
)
def test_what_cannot_be_compressed(model, keep, message):
    with pytest.raises(InputError, match=message):
        communal(model(), text(), keep)


def test_numbers_that_are_not_finite_are_named():
    model = separate()
    with torch.no_grad():
        model.graph.rounds[1].memory_norm.weight.fill_(torch.nan)
    with pytest.raises(InputError, match=r"rounds\.1\.router\.hear.* not finite"):
        communal(model, text(), 0.5)
