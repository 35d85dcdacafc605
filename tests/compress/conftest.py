"""Small decoders of several architectures, and a text for them."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

TOKENS = torch.randint(50, (9, 24), generator=torch.Generator().manual_seed(0))


def llama(**fields):
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, **fields,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def qwen():
    """Biases on q, k and v."""
    config = transformers.Qwen2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config)
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.self_attn.q_proj.bias)
    return model


def mistral():
    config = transformers.MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8,
    )  # fmt: skip
    return transformers.MistralForCausalLM(config)


def gpt2():
    """`Conv1D`, q, k and v in one layer."""
    config = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=64)
    return transformers.GPT2LMHeadModel(config)


def phi3():
    """q, k and v in one layer with fewer heads of keys, gate and up in another."""
    config = transformers.Phi3Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0,
    )  # fmt: skip
    return transformers.Phi3ForCausalLM(config)


def mamba():
    return transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, state_size=4)
    )


ARCHITECTURES = {f.__name__: f for f in (llama, qwen, mistral, gpt2, phi3, mamba)}


@pytest.fixture(params=list(ARCHITECTURES))
def model(request):
    torch.manual_seed(0)
    return ARCHITECTURES[request.param]().eval()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return llama().eval()
