"""The modern Transformer against a plain recomputation, and how far it sees."""

import pytest
import torch
import torch.nn.functional as F

from inn.config.rivals import TransformerConfig
from inn.models.transformer import Layer, Transformer
from inn.system.errors import InputError


def rms(x, weight):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def plain(model, tokens):
    """The whole stream at once, absolute positions, one head and one query at a time: `[T]` -> `[T, vocab]`."""
    c = model.config
    width = c.width // c.heads
    frequencies = [10000 ** (-2 * i / width) for i in range(width // 2)]

    def turn(v, position):  # each pair (i, i + width / 2) is a complex number
        z = torch.complex(v[: width // 2], v[width // 2 :])
        z = z * torch.tensor([position * f for f in frequencies], dtype=torch.float64).mul(1j).exp()
        return torch.cat((z.real, z.imag))

    x = model.embedding.weight[tokens]
    for layer in model.layers:
        q, k, v = (rms(x, layer.attention_norm.weight) @ layer.qkv.weight.T).chunk(3, dim=-1)
        heard = torch.zeros_like(x)
        for h in range(c.heads):
            of = slice(h * width, (h + 1) * width)
            for t in range(len(tokens)):
                seen = range(max(0, t - c.window + 1), t + 1)
                scores = torch.stack([turn(q[t, of], t) @ turn(k[s, of], s) for s in seen]) / width**0.5
                heard[t, of] = scores.softmax(0) @ v[list(seen)][:, of]
        x = x + heard @ layer.attention_out.weight.T
        gate, up = (rms(x, layer.feedforward_norm.weight) @ layer.gate_up.weight.T).chunk(2, dim=-1)
        x = x + (F.silu(gate) * up) @ layer.down.weight.T
    return rms(x, model.norm.weight) @ model.embedding.weight.T


@pytest.mark.parametrize("window", [1, 2, 5, 30])
def test_it_is_a_plain_transformer_with_a_sliding_window(build, window):
    model = build("transformer", window=window)
    tokens = torch.randint(7, (1, 17))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[0][0], plain(model, tokens[0]))


def test_one_layer_sees_exactly_the_window(build):
    model = build("transformer", layers=1)
    tokens = torch.randint(7, (1, 16))
    logits = model(tokens)[0][0, -1]
    for back in range(12):
        changed = tokens.clone()
        changed[0, -1 - back] = (changed[0, -1 - back] + 1) % 7
        difference = (model(changed)[0][0, -1] - logits).abs().max()
        assert difference > 1e-6 if back < 5 else difference < 1e-12


def test_a_stream_of_many_windows_forgets_all_but_layers_times_the_window(build):
    model = build("transformer")
    stream = torch.randint(7, (2, 150))
    reach = 2 * (5 - 1) + 1
    torch.testing.assert_close(model(stream)[0][:, -1], model(stream[:, -reach:])[0][:, -1])


def test_residual_projections_start_smaller_with_depth():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab=27, width=128, layers=8, heads=4))
    for layer in model.layers:
        assert isinstance(layer, Layer)
        assert layer.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.gate_up.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.attention_out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
        assert layer.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not any("bias" in name for name, _ in model.named_parameters())


def test_a_free_head_has_weights_of_its_own(build):
    tied, free = build("transformer"), build("transformer", tied=False)
    assert free.num_parameters - tied.num_parameters == 7 * 8


def test_heads_that_do_not_fit_are_refused(build):
    with pytest.raises(InputError, match="2 x heads"):
        build("transformer", heads=3)
