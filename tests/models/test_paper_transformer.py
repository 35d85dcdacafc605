"""The paper's Transformer against `torch.nn.TransformerEncoder`, and its blocks."""

import pytest
import torch
from torch import nn


def encoder(model, tokens):
    """What PyTorch's encoder makes of one window."""
    c = model.config
    layer = nn.TransformerEncoderLayer(c.width, c.heads, c.hidden, c.dropout, batch_first=True)
    whole = nn.TransformerEncoder(layer, c.layers, enable_nested_tensor=False).double().eval()
    whole.layers.load_state_dict(model.layers.state_dict())
    position = torch.arange(tokens.shape[1], dtype=torch.float64)[:, None]
    i = torch.arange(0, c.width, 2)
    waves = torch.zeros(tokens.shape[1], c.width, dtype=torch.float64)
    waves[:, 0::2] = torch.sin(position / 10000 ** (i / c.width))
    waves[:, 1::2] = torch.cos(position / 10000 ** (i / c.width))
    mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=torch.float64)
    y = whole(model.embedding(tokens) + waves, mask=mask, is_causal=True)
    return y @ model.embedding.weight.T + model.head.bias


@pytest.mark.parametrize("length", [1, 3, 5])
def test_a_window_is_what_pytorchs_encoder_computes(build, length):
    model = build("transformer-paper")
    tokens = torch.randint(7, (2, length))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[0], encoder(model, tokens), rtol=1e-6, atol=1e-6)


def test_blocks_start_afresh_however_they_are_reached(build):
    model = build("transformer-paper")
    tokens = torch.randint(7, (2, 14))
    logits, state = model(tokens)
    for start in (0, 5, 10):
        torch.testing.assert_close(logits[:, start : start + 5], model(tokens[:, start : start + 5])[0])
    assert state[0, "length"].tolist() == [[4], [4]]
    state = model(tokens[:, :10])[1]
    assert state[0, "length"].tolist() == [[0], [0]]  # a finished block leaves nothing
    assert all(not t.any() for t in state.values())


def test_a_reset_starts_a_new_block_in_its_row_alone(build):
    model = build("transformer-paper")
    tokens, reset = torch.randint(7, (2, 9)), torch.zeros(2, 9, dtype=torch.bool)
    reset[1, 3] = True
    logits, state = model(tokens, reset=reset)
    torch.testing.assert_close(logits[1, 3:8], model(tokens[1:, 3:8])[0][0])
    assert state[0, "length"].tolist() == [[4], [1]]


def test_odd_widths_have_positions_too(build):
    assert build("transformer-paper", width=9, heads=3)(torch.zeros(1, 7, dtype=torch.long))[0].isfinite().all()
