"""stories260K (MIT, from llama2.c): a small decoder that was really trained; 260,032 parameters, grouped keys."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from inn.system.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

HEADER = "dim hidden layers heads kv_heads vocab length".split()


def stories() -> nn.Module:
    """The model, from `stories260K.bin` in the folder `models` beside the data; raises `InputError` without it."""
    path = Path(os.environ.get("INN_DATA", "data")).parent / "models" / "stories260K.bin"
    if not path.is_file():
        raise InputError(f"{path} is not here; take it from huggingface.co/karpathy/tinyllamas (stories260K)")
    return read(path)


def read(path: Path) -> nn.Module:
    """The model of a llama2.c file (version 0), as transformers has it."""
    import numpy as np
    import torch
    import transformers

    content = path.read_bytes()
    c = dict(zip(HEADER, struct.unpack("7i", content[:28])))
    numbers = torch.from_numpy(np.frombuffer(content, dtype="<f4", offset=28).copy())
    d, h, n, kv = c["dim"], c["hidden"], c["layers"], c["dim"] // c["heads"] * c["kv_heads"]
    at = 0

    def take(*shape: int) -> Tensor:
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return numbers[at - count : at].view(shape)

    def turned(w: Tensor, heads: int) -> Tensor:
        """Rows from interleaved rotary pairs to two halves."""
        return w.view(heads, -1, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)

    embedding, attention_norm = take(c["vocab"], d), take(n, d)
    q, k, v, o = take(n, d, d), take(n, kv, d), take(n, kv, d), take(n, d, d)
    mlp_norm, gate, down, up, last = take(n, d), take(n, h, d), take(n, d, h), take(n, h, d), take(d)
    config = transformers.LlamaConfig(
        vocab_size=c["vocab"], hidden_size=d, intermediate_size=h, num_hidden_layers=n, num_attention_heads=c["heads"],
        num_key_value_heads=c["kv_heads"], max_position_embeddings=c["length"], rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    tensors = {"model.embed_tokens.weight": embedding, "model.norm.weight": last, "lm_head.weight": embedding}
    for i in range(n):
        tensors |= {
            f"model.layers.{i}.{name}.weight": w
            for name, w in {
                "input_layernorm": attention_norm[i], "post_attention_layernorm": mlp_norm[i],
                "self_attn.q_proj": turned(q[i], c["heads"]), "self_attn.k_proj": turned(k[i], c["kv_heads"]),
                "self_attn.v_proj": v[i], "self_attn.o_proj": o[i],
                "mlp.gate_proj": gate[i], "mlp.down_proj": down[i], "mlp.up_proj": up[i],
            }.items()
        }  # fmt: skip
    model.load_state_dict(tensors)
    return model
