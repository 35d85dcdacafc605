"""Parts that compute a given thing, frequencies, phases and bases, where what is there was planted."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import inn
from inn.analysis import Target, bigram, interaction_basis, ipr, phases, subnetwork
from inn.analysis.mechanisms.subnetwork import maskable
from inn.system.errors import InputError

P = 31
AT = torch.arange(P, dtype=torch.float64) * 2 * math.pi / P


class Planted(nn.Module):
    """Logits are a table of what follows, and beside it a map of rubbish."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        vocab = config.vocab
        self.embedding = nn.Embedding.from_pretrained(torch.eye(vocab))
        self.table, self.rubbish = nn.Linear(vocab, vocab), nn.Linear(vocab, vocab)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.table(x) + self.rubbish(x), None


@pytest.fixture(scope="module")
def pairs():
    """A text of 5 symbols by a table with zeros in it, `[n]`, and the table."""
    torch.manual_seed(0)
    table = torch.softmax(4 * torch.randn(5, 5), -1)
    text = [0]
    for draw in torch.rand(3000).tolist():
        text.append(min(4, int((table[text[-1]].cumsum(0) < draw).sum())))
    return torch.tensor(text), table


def test_a_bigram_is_what_was_counted(pairs):
    text, _ = pairs
    counted = torch.zeros(6, 6, dtype=torch.float64)
    for a, b in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        counted[a, b] += 1
    counted[5] = 1  # never seen: nothing is known
    expected = (counted / counted.sum(-1, keepdim=True)).float()
    assert torch.allclose(bigram(text, 6).chances(torch.arange(6)[None])[0], expected)


def test_the_part_is_found_that_was_planted(pairs):
    text, table = pairs
    torch.manual_seed(1)
    model = Planted(SimpleNamespace(vocab=5))
    with torch.no_grad():
        model.table.weight.copy_(table.T.clamp_min(1e-4).log())
        model.table.bias.zero_()
        model.rubbish.weight.normal_().mul_(4)
        model.rubbish.bias.zero_()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    found = subnetwork(model, target=bigram(text), keep=0.5, steps=120)
    assert found.kept <= 0.5
    assert found.by_part["table.weight"] > 4 * found.by_part["rubbish.weight"]
    assert found.loss < 0.3 * min(found.full, found.random, found.largest, found.untrained)
    assert found.ablated > found.ablated_random > found.whole
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    with found.alone(model), torch.no_grad():
        told = model(text[None, -200:])[0].softmax(-1)
    apart = torch.special.xlogy(chances := bigram(text).chances(text[None, -200:]), chances / told).sum(-1).mean()
    assert float(apart) == pytest.approx(found.loss, abs=0.1)
    assert not torch.equal(model(text[None, -200:])[0].softmax(-1), told)


def test_a_causal_model_of_hugging_face_has_parts_too(pairs):
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=5, n_positions=64, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )
    assert {name.split(".")[-2] for name in maskable(model)} == {"c_attn", "c_proj", "c_fc"}
    with torch.no_grad():
        for p in maskable(model).values():
            p.mul_(20)
    found = subnetwork(model, target=bigram(pairs[0]), keep=0.3, steps=25)
    assert 0 < found.kept <= 0.3
    assert all(int(mask.sum()) == round(found.by_part[name] * mask.numel()) for name, mask in found.masks.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keep": 1.0}, "between 0 and 1"),
        ({"steps": 0}, "at least 1"),
        ({"target": bigram(torch.arange(300) % 4)}, "over 4 symbols and the model reads 5"),
        ({"model": nn.Identity()}, "no matrix"),
    ],
)
def test_what_cannot_be_asked_is_refused(change, said):
    asked = {"model": Planted(SimpleNamespace(vocab=5)), "target": bigram(torch.arange(300) % 5), **change}
    with pytest.raises(InputError, match=said):
        subnetwork(asked.pop("model"), **asked)


def test_targets_refuse_texts_that_do_not_fit():
    with pytest.raises(InputError, match="too few contexts"):
        bigram(torch.arange(50))
    with pytest.raises(InputError, match="a vocabulary of 3 ends at 2"):
        Target("t", torch.arange(200) % 4, 3, lambda tokens: tokens)


def test_frequencies_are_those_of_a_loop():
    weights = torch.randn(3, P, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for row, told in zip(weights, ipr(weights).tolist(), strict=True):
        waves = [abs(sum(w * torch.exp(-1j * k * AT[i]) for i, w in enumerate(row))) for k in range(P // 2 + 1)]
        norm = math.sqrt(sum(float(f) ** 2 for f in waves))
        assert told == pytest.approx(sum((float(f) / norm) ** 4 for f in waves), rel=1e-9)
    assert ipr(torch.zeros(P)) == 0


def test_phases_are_read_that_were_planted_and_shuffled_ones_are_random():
    draw = torch.Generator().manual_seed(0)
    k = torch.randint(1, P // 2 + 1, (400, 1), generator=draw)
    one, other = 2 * math.pi * torch.rand(2, 400, 1, generator=draw, dtype=torch.float64)
    u, v, w = (torch.cos(k * AT + phi) for phi in (one, other, one + other - 0.05))
    found = phases(u, v, w)
    assert torch.equal(found.frequencies, k[:, 0])
    assert bool(found.single.all())
    assert found.misaligned.tolist() == pytest.approx([0.05] * 400)
    assert found.used == found.possible == 15
    assert max(found.resultants.values()) < 0.6  # about 26 neurons each, evenly round the ring
    same = phases(u, torch.cos(k * AT + one), w)
    assert min(same.resultants.values()) == pytest.approx(1.0)
    shuffled = phases(u, v, torch.cos(k * AT + 2 * math.pi * torch.rand(400, 1, generator=draw)))
    assert shuffled.median == pytest.approx(math.pi / 2, abs=0.2)
    mixed = phases(u, v, w.roll(1, 0))
    assert float(mixed.single.double().mean()) == pytest.approx(1 / 15, abs=0.05)


@pytest.mark.parametrize("give", [lambda: ipr(torch.ones(2)), lambda: phases(*torch.ones(3, 4)),
                                  lambda: phases(torch.ones(2, 5), torch.ones(2, 5), torch.ones(3, 5))])  # fmt: skip
def test_other_shapes_are_refused(give):
    with pytest.raises(InputError):
        give()


def planted(correlation, seed=0, steps=20_000, own=4):
    """Two networks beside one another, behind a rotation: the layers, what they read, and the rotation."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    def linear(weight):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
        layer.weight.data.copy_(weight)
        return layer

    turn, z = torch.linalg.qr(some(2 * own, 2 * own))[0], some(steps, 2 * own)
    z[:, own:] = correlation * z[:, :own] + math.sqrt(1 - correlation**2) * z[:, own:]
    first, last = (torch.block_diag(some(a, b), some(a, b)) for a, b in ((8, own), (4, 8)))
    return nn.Sequential(linear(turn), linear(first @ turn.T / 2), nn.Tanh(), linear(last)), z, turn


def purity(rows, turn, z):
    """How much of a direction's variance comes from one of the two networks, on average."""
    shares = ((rows @ turn) * z.std(0)).square().unflatten(-1, (2, -1)).sum(-1)
    return float((shares.amax(-1) / shares.sum(-1)).mean())


def test_planted_modules_are_found_and_not_where_their_inputs_are_correlated():
    model, z, turn = planted(0.0)
    with torch.no_grad():
        f = model[0](z)
    basis = interaction_basis(model, round=1, data=z)
    assert purity(basis.into, turn, z) > 0.97
    assert purity(torch.linalg.eigh(f.T @ f)[1].T, turn, z) < 0.8
    assert purity(torch.eye(8).double(), turn, z) < 0.8
    assert torch.allclose(basis.restore(basis.coordinates(f)), f, atol=1e-10)
    left = [(basis.first(k).restore(basis.first(k).coordinates(f)) - f).norm() for k in (2, 5, 8)]
    assert left[0] > left[1] > left[2]
    model, z, turn = planted(0.9)
    assert purity(interaction_basis(model, round=1, data=z).into, turn, z) < 0.8  # the limit, as it is documented


def test_a_basis_is_what_its_definition_says():
    """Covariance one in whitened units, and the Jacobian to the outputs diagonal: both in a plain loop."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(150, 3, dtype=torch.float64)
    with torch.inference_mode():
        basis = interaction_basis(model, round=2, data=x)  # a linear end: J is its weight
    with torch.no_grad():
        f = model[1](model[0](x))
    jacobian = model[2].weight.detach() @ basis.back
    assert torch.allclose(basis.edges, jacobian.square())
    y = basis.coordinates(f)
    covariance = y.T @ y / len(y)
    assert torch.allclose(covariance[:2, :2], torch.diag(basis.importance[:2]), atol=1e-10)
    assert basis.importance[2:].tolist() == pytest.approx([0.0] * 2, abs=1e-12)  # two outputs hear two directions
    assert torch.allclose(jacobian.T @ jacobian, torch.diag(jacobian.square().sum(0)), atol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"router": "attention", "readout": "mean"}, {"recall": "none", "memory": "gru"}]
)
def test_a_basis_of_a_graph_gives_the_neurons_back_and_ends_at_its_logits(options):
    torch.manual_seed(0)
    model = inn.INN(vocab=5, neurons=2, width=4, rounds=2, **options)
    tokens = torch.randint(5, (3, 40))
    with inn.record(model, "outputs") as tape, torch.no_grad():
        model(tokens)
    neurons = tape.last_outputs.transpose(0, 1).flatten(0, 1).flatten(1)
    basis = interaction_basis(model, round=2, data=tokens)
    assert basis.edges.shape[0] == 5
    assert torch.allclose(basis.restore(basis.coordinates(neurons)), neurons.double(), atol=1e-5)
    assert interaction_basis(model, round=0, data=tokens).edges.shape[0] == basis.into.shape[0] or not options


@pytest.mark.parametrize(
    ("model", "round", "data", "said"),
    [
        (inn.INN(vocab=5, neurons=2, width=4, rounds=1), 2, torch.zeros(2, 60).long(), "no round 2"),
        (inn.INN(vocab=5, neurons=2, width=4, rounds=1), 0, torch.zeros(2, 20).long(), "too few"),
        (nn.Linear(2, 2), 0, torch.zeros(200, 2), "not of a Linear"),
        (nn.Sequential(nn.Linear(2, 2)), 0, torch.zeros(200, 2), "does not vary"),
    ],
)
def test_bases_that_are_not_there_are_refused(model, round, data, said):
    with pytest.raises(InputError, match=said):
        interaction_basis(model, round=round, data=data)
