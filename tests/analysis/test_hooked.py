"""Other people's tools on our models: TransformerLens' names, nnsight's traces."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

import inn
import inn.analysis
from inn.analysis.recording.hooked import _root, hooked
from inn.hf import INNForCausalLM
from inn.system.errors import InputError

TOKENS = torch.arange(12).reshape(2, 6) % 11
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bridges.md"
MISSING = "{} is not installed: pip install 'inn-torch[bridges]'"


def small(**fields) -> inn.INN:
    torch.manual_seed(0)
    return inn.INN(**{"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, **fields}).eval()


def on_the_page(number: int) -> str:
    """A block of the page on both."""
    return re.findall(r"```python shown\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]


@pytest.mark.parametrize("fields", [{}, {"router": "attention", "share_rounds": True, "rounds": 3}])
def test_transformerlens_finds_its_points(fields):
    pytest.importorskip("transformer_lens", reason=MISSING.format("TransformerLens"))
    model = small(**fields)
    lens, rounds = hooked(model), model.config.rounds
    with torch.no_grad():
        expected, _ = model(TOKENS)
        logits, cache = lens.run_with_cache(TOKENS)
        assert torch.equal(logits, expected)
        for r in range(1, rounds):
            assert torch.equal(cache[f"blocks.{r}.hook_resid_pre"], cache[f"blocks.{r - 1}.hook_resid_post"])
        last = model.norm(model.graph.readout(cache[f"blocks.{rounds - 1}.hook_resid_post"]))
        assert torch.equal(last, cache["ln_final.hook_normalized"])
        before = cache["blocks.1.hook_resid_pre"]
        left_out = lens.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_resid_post", lambda x, hook: before)])
        if rounds == 2:
            with inn.analysis.skipped(model, 1):
                assert torch.equal(model(TOKENS)[0], left_out)
        assert not torch.equal(left_out, expected)
        assert torch.equal(model(TOKENS)[0], expected)  # nothing is left behind
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    exec(on_the_page(0), {})


def test_nnsight_traces_a_model_of_transformers(tmp_path, monkeypatch):
    pytest.importorskip("nnsight", reason=MISSING.format("nnsight"))
    code = on_the_page(1)
    path = tmp_path / "traced.py"  # nnsight reads the source of a trace
    path.write_text(f"import torch\ndef traced_by_hand(model, tokens):\n{re.sub('^', '    ', code, flags=re.M)}\n"
                    "    return neurons, logits\n")  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))
    from traced import traced_by_hand  # pyright: ignore[reportMissingImports]

    model = small()
    neurons, logits = traced_by_hand(model, TOKENS)
    with torch.no_grad():
        assert neurons.shape == (2, 6, 3, 8)
        assert not torch.equal(logits, model(TOKENS)[0])


def test_what_cannot_be_hooked(monkeypatch):
    with pytest.raises(InputError, match=r"of inn\.hf give model\.inn"):
        hooked(INNForCausalLM.wrap(small()))
    with pytest.raises(InputError, match="goes step by step"):
        hooked(small(lag=1, memory="gru"))
    monkeypatch.setitem(sys.modules, "transformer_lens.hook_points", None)
    with pytest.raises(InputError, match=r"needs TransformerLens; install it: pip install 'inn-torch\[bridges\]'"):
        _root.__wrapped__()
