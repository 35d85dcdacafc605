"""A kind of recall of one's own: registered, configured, trained with, and held to the contract, which it may break."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import inn
from inn.config.checks import check_fraction
from inn.nn.population import NeuronLinear
from inn.registry import RECALLS
from inn.surgery.organ import cut
from inn.system.errors import InputError
from inn.testing import check_recall


class Seen(inn.Recall):
    """Whether a stream has read the present symbol before, told by a number."""

    by_symbol = ("told",)

    @dataclass
    class Options(inn.Options):
        forget: float = 0.0
        """Probability of forgetting all before a training window."""

        def __post_init__(self):
            super().__post_init__()
            check_fraction(self, "forget")

    def __init__(self, config):
        super().__init__(config)
        self.neurons, self.vocab = config.neurons, config.vocab
        self.told = torch.nn.Parameter(torch.ones(config.vocab))
        self.into = NeuronLinear(config.neurons, 1, config.width)

    def initial_state(self, batch):
        device = self.told.device
        return {
            "table": torch.zeros(batch, self.neurons, 1, self.vocab, dtype=torch.int32, device=device),
            "recent": torch.full((batch, self.neurons, 1), -1, device=device),
        }

    def contexts(self, neuron):
        return ["symbol"]

    def after_reading(self, symbols):
        state = {name: t.cpu() for name, t in self.initial_state(1).items()}
        state["table"][..., symbols.cpu().long()] = 1
        return state

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        found = []
        for t in range(tokens.shape[1]):
            x = tokens[:, t].long()
            if reset is not None:
                state["table"][reset[:, t]], state["recent"][reset[:, t]] = 0, -1
            rows = torch.arange(len(x)) if mask is None else mask[:, t].nonzero()[:, 0]
            known = state["table"][torch.arange(len(x)), 0, 0, x]
            found.append(torch.where(known == 1, x, -1)[:, None, None].expand(-1, self.neurons, 1))
            state["recent"][rows] = x[rows, None, None]
            if remember:
                state["table"][rows, :, 0, x[rows]] = 1
        return {"symbol": torch.stack(found, 1)}

    def tell(self, found):
        symbol = found["symbol"]
        return self.into(self.told[symbol.clamp(0)] * (symbol >= 0))

    def flops(self):
        return {"recall": self.into.flops(self.neurons)}


@pytest.fixture
def seen():
    with RECALLS.lent("seen", Seen):
        yield


def test_it_keeps_the_contract():
    check_recall(Seen)


def test_a_model_has_it_by_name_and_its_options(seen):
    config = inn.model_config(vocab=9, neurons=2, width=4, rounds=1, recall="seen", recall_options={"forget": 0.5})
    assert config.recall.forget == 0.5
    model = inn.build_model(config)
    assert model.no_split == ["Round", "Seen"]
    x = torch.arange(6)[None] % 3
    model(x)[0].square().sum().backward()
    assert model.recall.told.grad[:3].all()
    with pytest.raises(InputError, match="option 'slots' belongs to recall 'last' or 'counts', not 'seen'"):
        inn.model_config(recall="seen", recall_slots=64)
    written = model.eval()(x)[1]
    assert torch.equal(model.step_(x[:, 0], written.clone(), remember=False)[1][-1, "table"], written[-1, "table"])


def test_in_training_its_streams_forget(seen):
    model = inn.INN(vocab=9, neurons=2, width=4, rounds=1, recall={"kind": "seen", "forget": 0.5}).train()
    _, state = model(torch.arange(9).expand(2, -1), reset=torch.zeros(2, 9, dtype=torch.bool))
    model.recall.drawn = torch.tensor([0.4, 0.6])
    _, after = model(torch.zeros(2, 1).long(), state)
    assert after[-1, "table"].sum((1, 2, 3)).tolist() == [2, 18]


def test_surgery_keeps_it_and_says_what_it_cannot(seen):
    fields = {"vocab": 9, "neurons": 3, "width": 4, "rounds": 1, "recall": "seen"}
    model, x = inn.INN(**fields).eval(), torch.arange(12)[None] % 4
    assert inn.grow(model, 1).config.recall == model.config.recall
    torch.testing.assert_close(inn.grow(model, 1)(x)[0], model(x)[0])
    small = inn.keep(model, [0, 2])
    assert torch.equal(small.recall.into.weight, model.recall.into.weight[[0, 2]])
    with pytest.warns(UserWarning, match="not that of the organ's donor"):
        both = inn.graft(inn.INN(**fields), cut(model, neurons=[1]), at=0)
    assert torch.equal(both.recall.into.weight[0], model.recall.into.weight[1])
    for other, sentence in (
        ({}, "recall 'seen' does not say how"),
        ({"recall": [2]}, "recall is 'seen' in one and 'last' in the other"),
        ({"recall": {"kind": "seen", "forget": 0.5}}, "recall.forget is 0.0 in one and 0.5 in the other"),
    ):
        with pytest.raises(InputError, match=sentence):
            inn.merge(model, inn.INN(**{**fields, **other}).eval())
    donor = "not that of the organ's donor"
    with (
        pytest.warns(UserWarning, match=donor),
        pytest.raises(InputError, match="its recall is seen, and the base's last"),
    ):
        inn.graft(inn.INN(**{**fields, "recall": [2]}), cut(model, neurons=[1]), at=0)


class Kept(Seen):
    """Changes the state that it was given."""

    def forward(self, tokens, state, reset=None, mask=None, remember=True, found=None):
        state = self.initial_state(len(tokens)) if state is None else state
        taken, found = self.read_(tokens, state, reset, mask, remember)
        return taken, state, found


class Early(Seen):
    """Knows of the symbol that follows."""

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        found = super().find_(tokens, state, reset, mask, remember)["symbol"]
        return {"symbol": torch.cat((found[:, 1:], tokens[:, -1:, None, None].expand_as(found[:, :1])), 1)}


class Stubborn(Seen):
    """Takes no notice of a reset."""

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        return super().find_(tokens, state, None, mask, remember)


class Blind(Seen):
    """Reads what is masked."""

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        return super().find_(tokens, state, reset, None, remember)


class Gullible(Seen):
    """Remembers what it should not."""

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        return super().find_(tokens, state, reset, mask)


class Social(Seen):
    """Hears other streams."""

    def find_(self, tokens, state, reset=None, mask=None, remember=True):
        found = super().find_(tokens, state, reset, mask, remember)["symbol"]
        return {"symbol": found.amax(0, keepdim=True).expand_as(found)}


class Certain(Seen):
    """Has something to say of what it does not know."""

    def tell(self, found):
        return super().tell(found) + self.told[0]


class Empty(Seen):
    """Knows nothing of a text that it was to read beforehand."""

    def after_reading(self, symbols):
        return self.initial_state(1)


class Nameless(Seen):
    """Does not say what it looks up."""

    def contexts(self, neuron):
        return []


@pytest.mark.parametrize(
    "kind, sentence",
    [
        (Kept, "forward changes the state"),
        (Early, "in parts it finds something else|a later symbol|does not stand for"),
        (Stubborn, "a reset is no fresh start"),
        (Blind, "a masked step"),
        (Gullible, "without remember the table"),
        (Social, "streams meet"),
        (Certain, "-1 does not stand for what is not known|after silence"),
        (Empty, "after_reading.* another table"),
        (Nameless, "contexts.* does not name"),
    ],
)
def test_what_breaks_the_contract_is_found(kind, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_recall(kind)
