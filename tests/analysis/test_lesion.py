"""A silenced neuron is one whose messages and readout are zero, worked out by hand."""

from __future__ import annotations

import pytest
import torch

import inn
from inn.analysis.lesion import silenced
from inn.errors import InputError


def model(**fields):
    torch.manual_seed(0)
    return inn.INN(vocab=11, neurons=3, width=8, rounds=2, recall=[2], recall_slots=64, **fields).eval()


def test_silence_is_zero_weights_from_the_neuron():
    m, tokens = model(), torch.randint(11, (2, 20))
    with torch.no_grad(), silenced(m, [1]):
        ours, _ = m(tokens)
    by_hand = model()
    with torch.no_grad():
        for round_ in by_hand.graph.rounds:
            weight = round_.router.hear.weight  # [to, 2E, from x D]
            weight[0, :, 8:16] = weight[2, :, 8:16] = 0.0
        x, _ = by_hand.graph.run(by_hand._read(tokens) + by_hand.recall(tokens, None)[0])
        x[:, :, 1] = 0.0
        theirs = by_hand._write(x)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("router", ["dendrites", "attention", "bus", "mixing", "static", "none"])
def test_only_while_the_block_runs(router):
    m, tokens = model(router=router), torch.randint(11, (2, 20))
    with torch.no_grad():
        before, _ = m(tokens)
        with silenced(m, [0]):
            during, _ = m(tokens)
        after, _ = m(tokens)
    assert torch.equal(before, after)
    assert not torch.allclose(before, during)


def test_silencing_all_leaves_the_bias():
    m, tokens = model(), torch.randint(11, (1, 5))
    with torch.no_grad(), silenced(m, [0, 1, 2]):
        logits, _ = m(tokens)
    torch.testing.assert_close(logits, m.head(m.norm.bias[None, None]).expand_as(logits))


def test_mistakes():
    with pytest.raises(InputError, match="no neuron 3"), silenced(model(), [3]):
        pass
    with pytest.raises(InputError, match="no neurons to silence"), silenced(torch.nn.Linear(1, 1), [0]):
        pass
