"""Residual states caught from outside are those that the model computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inn.analysis.stability.depths import Depths
from inn.analysis.stability.measure import stability
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.system.errors import InputError

TOKENS = torch.arange(24).view(2, 12) % 11


def small(kind: str, **fields):
    torch.manual_seed(0)
    return build_model(model_config(kind, vocab=11, **fields)).eval()


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("fields", [{}, {"input": "copy", "readout": "mean"}, {"recall": []}])
def test_an_inn(share, fields):
    model = small("inn", neurons=3, width=8, rounds=2, share_rounds=share, **fields)
    found = Depths(model)(TOKENS)
    with torch.no_grad():
        x = model.embed(TOKENS)
        if model.recall is not None:
            x = x + model.recall(TOKENS, None)[0]
        torch.testing.assert_close(found[0], x.flatten(2))
        for r in range(2):
            x = model.graph.round(r)(x, model.graph.round(r).initial_state(2))[0]
            torch.testing.assert_close(found[r + 1], x.flatten(2))


@pytest.mark.parametrize(
    ("kind", "fields", "depths"),
    [
        ("transformer", {"width": 8, "layers": 3, "heads": 2, "window": 8}, 3),
        ("transformer-paper", {"width": 8, "layers": 2, "heads": 2, "hidden": 16, "window": 16}, 2),
        ("mamba-stack", {"width": 8, "layers": 3}, 3),
        ("lstm", {"width": 8, "layers": 2}, 1),
    ],
)
def test_rivals(kind, fields, depths):
    model = small(kind, **fields)
    found = Depths(model)(TOKENS)
    assert len(found) == depths + 1
    assert all(h.shape == (2, 12, 8) for h in found)
    with torch.no_grad():
        logits = model(TOKENS)[0]
        last = found[-1]
        norm = getattr(model, "norm", nn.Identity())
        again = model.head(norm(last), model.embedding) if kind != "mamba-stack" else model.logits(last[:, :, None])
    torch.testing.assert_close(again, logits)


def test_a_changed_embedding_reaches_what_comes_after_it_only():
    model = small("inn", neurons=2, width=8, rounds=2)

    def change(embedded):
        embedded = embedded.clone()
        embedded[:, 5] += 1.0
        return embedded

    for plain, changed in zip(Depths(model)(TOKENS), Depths(model)(TOKENS, change), strict=True):
        torch.testing.assert_close(plain[:, :5], changed[:, :5])
        assert not torch.allclose(plain[:, 5], changed[:, 5])
    torch.testing.assert_close(Depths(model)(TOKENS)[0][:, 6:], Depths(model)(TOKENS, change)[0][:, 6:])


def test_it_goes_on_from_a_state_and_leaves_the_model_as_it_was():
    model = small("inn", neurons=2, width=8, rounds=2).train()
    whole = Depths(model)(TOKENS)
    with torch.no_grad():
        _, state = model.eval()(TOKENS[:, :7])
    model.train()
    for a, b in zip(whole, Depths(model)(TOKENS[:, 7:], state=state), strict=True):
        torch.testing.assert_close(a[:, 7:], b)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("model", [nn.Linear(2, 2), small("ngram")])
def test_models_that_cannot_be_seen_into(model):
    with pytest.raises(InputError, match="has no embedding, or no layers"):
        Depths(model)


def test_a_stack_that_turns_batch_and_time_round():
    with pytest.raises(InputError, match="cannot be seen from outside"):
        Depths(small("mamba-stack-transposed", width=8, layers=1))(TOKENS)


def hugging_face(kind: str):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=11, n_positions=128, n_embd=16, n_layer=3, n_head=2)
    elif kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=11, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
        )
    else:
        config = transformers.MambaConfig(vocab_size=11, hidden_size=16, state_size=4, num_hidden_layers=3)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mamba"])
def test_hugging_face(kind):
    model = hugging_face(kind)
    found = Depths(model)(TOKENS)
    with torch.no_grad():
        theirs = model(TOKENS, output_hidden_states=True).hidden_states
    assert len(found) == 4
    known = found[1:] if kind == "mamba" else found[:3]  # where they begin; their last has gone through the final norm
    for ours, other in zip(known, theirs[:3], strict=True):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mamba"])
def test_stability_of_hugging_face_models(kind):
    found = stability(hugging_face(kind), torch.randint(11, (3, 64)))
    assert found["before"] < 1e-3
    assert found["depths"] == 3
    assert found["state"] is found["time"] is None
    assert found["depth"]["growth"]["mean"][0] == pytest.approx(0, abs=0.3)  # a young layer adds little
