"""The logit lens: one neuron against an average population, for any way out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import inn
from inn.analysis.measures.lens import logit_lens
from inn.system.errors import InputError


def model(**fields):
    torch.manual_seed(0)
    return inn.INN(**{"vocab": 9, "neurons": 3, "width": 8, "rounds": 1, "recall": [], **fields}).eval()


def outputs(T=40):
    torch.manual_seed(1)
    return torch.randn(2, T, 3, 8), torch.randint(9, (2, T)), torch.rand(2, T, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tied": False},
        {"readout": "mean", "input": "copy"},
        {"readout": "attention", "input": "copy", "router": "none"},
        {"embedding_width": 4},
        {"norm": "rms", "readout": "mean", "input": "copy"},
        {"head": "adaptive", "cutoffs": [3, 6], "tied": False, "vocab": 9},
    ],
)
def test_others_at_their_mean_by_hand(fields):
    m, (x, y, loud) = model(**fields), outputs()
    lenses = logit_lens(m, x, y, loud)
    with torch.no_grad():
        rms = fields.get("norm") == "rms"
        read = m.graph.readout(x)
        spread = read.square().mean() if rms else read.var(-1, correction=0).mean()
        for n in range(3):
            alone = x.mean((0, 1)).expand_as(x).clone()
            alone[:, :, n] = x[:, :, n]
            z = m.graph.readout(alone)
            z = (z - (0 if rms else z.mean(-1, keepdim=True))) / (spread + m.norm.eps).sqrt() * m.norm.weight
            z = z + (0 if rms else m.norm.bias)
            nats = F.cross_entropy(m.head(m.bridge(z)).flatten(0, 1), y.flatten())
            assert lenses[n].bits == pytest.approx(nats.item() / math.log(2), rel=1e-5)
    assert len({lens.silent for lens in lenses}) == 1


@pytest.mark.parametrize("fields", [{}, {"tied": False, "norm": "rms"}], ids=str)
def test_of_a_model_taken_apart_it_is_the_whole_ones(fields):
    """Neurons that were taken out count as silent, those that were put in as nothing yet."""
    m, (x, y, loud) = model(**fields), outputs()
    x[:, :, 2] = 0
    whole = logit_lens(m, x, y, loud)
    small = logit_lens(inn.keep(m, neurons=[0, 1]), x[:, :, :2], y, loud[:, :, :2])
    large = logit_lens(inn.grow(m, neurons=1), torch.cat((x, torch.randn(2, 40, 1, 8)), 2), y, loud[:, :, [0, 1, 2, 0]])
    for found in (small, large):
        for ours, bar in zip(found[:2], whole[:2], strict=True):
            assert (ours.bits, ours.silent) == pytest.approx((bar.bits, bar.silent), rel=1e-5)


def test_where_only_one_neuron_varies_the_lens_is_the_model():
    m, (x, y, loud) = model(tied=False), outputs()
    x = x * 0.02  # so that the norm divides by about the same everywhere
    x[:, :, 0] = torch.linspace(-1, 1, 8) * 3
    x[:, :, 2] = torch.linspace(2, -1, 8) * 3
    x[:, :, [0, 2]] = x[:1, :1, [0, 2]]
    with torch.no_grad():
        nats = F.cross_entropy(m.logits(x).flatten(0, 1), y.flatten())
    lenses = logit_lens(m, x, y, loud)
    assert lenses[1].bits == pytest.approx(nats.item() / math.log(2), rel=1e-3)
    for n in (0, 2):
        assert lenses[n].bits == pytest.approx(lenses[n].silent, rel=1e-6)
        assert lenses[n].push.abs().max() < 1e-5


def test_what_is_pushed_is_what_the_loudest_symbols_say():
    m, (x, y, loud) = model(), outputs()
    loud[:, :, 1] = 0.0
    loud[1, 7, 1] = 1.0
    loud[0, 3:10, 1] = 0.5
    all_loud = logit_lens(m, x, y, loud)[1]  # a tenth of 80 symbols: these eight
    with torch.no_grad():
        spread = m.graph.readout(x).var(-1, correction=0).mean()
        alone = x.mean((0, 1)).expand(9, -1, -1).clone()
        alone[:8, 1] = torch.cat([x[1, 7:8, 1], x[0, 3:10, 1]])
        z = alone.flatten(1)
        z = (z - z.mean(-1, keepdim=True)) / (spread + m.norm.eps).sqrt() * m.norm.weight + m.norm.bias
        said = m.head(m.bridge(z[None]))[0].softmax(-1)
    torch.testing.assert_close(all_loud.push, (said[:8] - said[8]).mean(0), rtol=1e-4, atol=1e-6)
    assert all_loud.push.sum().abs() < 1e-5
    assert all_loud.top(3) == sorted(enumerate(all_loud.push.tolist()), key=lambda pair: -pair[1])[:3]
    assert len(all_loud.top(50)) == 9


def test_dropout_plays_no_part_and_training_goes_on():
    m, (x, y, loud) = model(dropout=0.5), outputs()
    m.train()
    assert logit_lens(m, x, y, loud)[0].bits == logit_lens(m, x, y, loud)[0].bits
    assert m.training


def test_mistakes():
    m, (x, y, loud) = model(), outputs()
    with pytest.raises(InputError, match="not of the same symbols and neurons"):
        logit_lens(m, x, y[:, :5], loud)
    with pytest.raises(InputError, match="not of the same symbols and neurons"):
        logit_lens(m, x, y, loud[..., :2])


@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_models_put_together_are_normed_as_they_norm_themselves(norm):
    from inn.analysis.measures.lens import _normed

    torch.manual_seed(0)
    models = [
        inn.INN(vocab=7, neurons=3, width=8, rounds=1, recall=[], norm=norm, readout=r) for r in ("concat", "mean")
    ]
    for p in (p for m in models for p in m.norm.parameters()):
        p.add_(torch.randn_like(p))
    kept = inn.keep(models[0], neurons=[0, 2])
    models[1].graph.ids += 5
    for model in (kept, inn.grow(kept) if norm != "none" else kept, inn.merge(*models), inn.merge(kept, models[1])):
        z = model.graph.readout(torch.randn(1, 1, model.config.neurons, 8))
        torch.testing.assert_close(_normed(model.norm, z)[0], model.norm(z), atol=1e-5, rtol=1e-5)
        x = torch.randn(1, 20, model.config.neurons, 8)
        lenses = logit_lens(model, x, torch.zeros(1, 20, dtype=torch.long), x.norm(dim=-1))
        assert len(lenses) == model.config.neurons
