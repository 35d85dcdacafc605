"""Dense models in experts: exact where all are used, less arithmetic where fewer are, and whole again bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import inn
from inn.surgery.experts import ExpertMLP, balanced
from inn.surgery.split import split, unsplit
from inn.system.errors import InputError

FIELDS = {
    "vocab": 9,
    "neurons": 4,
    "width": 8,
    "rounds": 2,
    "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4},
}
TOKENS = torch.arange(24).reshape(2, 12) ** 2 % 7
GRAPHS = [
    {}, {"router": "attention", "readout": "mean"}, {"router": "bus"}, {"weights": "communal", "communal_states": 5},
    {"router": "none"}, {"lag": 1}, {"topology": "ring"}, {"memory": "elm", "router": "attention"},
    {"population": [{"neurons": 1}, {"neurons": 3, "memory": "gru"}]},
    {"population": [{"neurons": 1}, {"neurons": 3, "memory": "gru"}], "router": "mixture"},
]  # fmt: skip


def model(**fields):
    torch.manual_seed(0)
    made = inn.INN(**{**FIELDS, **fields}).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return made.eval()


def alike(a, b):
    tensors = b.state_dict()
    return tensors.keys() == a.state_dict().keys() and all(
        torch.equal(t, tensors[n]) for n, t in a.state_dict().items()
    )


def mlp(hidden=48):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, hidden), nn.GELU(), nn.Linear(hidden, 5)).double()


@pytest.mark.parametrize("fields", GRAPHS, ids=str)
def test_a_graph_with_all_its_experts_is_the_graph_and_is_whole_again(fields):
    whole = model(**fields)
    kept = copy.deepcopy(whole)
    assert torch.equal(split(whole, experts=4, use=4)(TOKENS)[0], whole(TOKENS)[0])
    half = split(whole, experts=2, use=1)
    assert not torch.allclose(half(TOKENS)[0], whole(TOKENS)[0])
    back = unsplit(half)
    assert alike(whole, back)
    assert back.config == whole.config
    assert alike(whole, kept)


def test_neurons_of_experts_that_are_not_used_rest_and_who_reads_alike_is_together():
    whole = model(neurons=4)
    with torch.no_grad():  # neurons 0 and 2 read alike, and so do 1 and 3
        for r in whole.graph.rounds:
            r.router.hear.weight[2:] = r.router.hear.weight[:2] * 1.5
    half = split(whole, experts=2, use=1)
    for r in half.graph.rounds:
        assert r.gate.of.tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
        mean = r.router.hear.weight.unflatten(2, (4, -1)).mean(1)
        torch.testing.assert_close(r.gate.keys[r.gate.of[0]], (mean[0] + mean[2]) / 2)
    assert not list(half.graph.rounds[0].gate.parameters())
    with inn.record(half, "gate") as tape:
        half(TOKENS)
    assert torch.allclose(tape.mean("gate").sum(1), torch.full((2,), 2.0, dtype=torch.double))
    assert sum(half.flops().values()) < sum(whole.flops().values())


def test_feed_forward_maps_are_exact_and_whole_again():
    dense, x = mlp(), torch.randn(7, 3, 6, dtype=torch.double)
    assert torch.equal(split(dense, experts=8, use=8)(x), dense(x))
    few = split(dense, experts=8, use=3)
    assert alike(dense, unsplit(few))
    loaded = split(mlp(), experts=8, use=3, seed=5)
    loaded.load_state_dict(few.state_dict())
    assert torch.equal(loaded(x), few(x))
    # What hangs on a map is heard; the result is that of the maps themselves.
    hooked = copy.deepcopy(few)
    hooked.get_submodule("0").register_forward_hook(lambda m, args, y: y * 1.0)
    torch.testing.assert_close(hooked(x), few(x))


def test_a_few_experts_are_a_loop_over_vectors_and_cost_their_share():
    few, x = split(mlp(), experts=8, use=3), torch.randn(9, 6, dtype=torch.double).requires_grad_()
    expected = []
    for row in x:
        best = (few.keys @ row).topk(3).indices
        units = torch.cat([torch.arange(e * 6, e * 6 + 6) for e in best.tolist()])
        up, act, down = few.children()
        hidden = act(up.weight[units] @ row + up.bias[units])
        expected.append(down.weight[:, units] @ hidden + down.bias)
    torch.testing.assert_close(few(x), torch.stack(expected))
    wanted = torch.autograd.grad(torch.stack(expected).square().sum(), [x, *few.parameters()])
    for ours, bar in zip(torch.autograd.grad(few(x).square().sum(), [x, *few.parameters()]), wanted, strict=True):
        torch.testing.assert_close(ours, bar)
    with FlopCounterMode(display=False) as counter:
        few(x)
    assert counter.get_total_flops() == 2 * 9 * (3 * 6 * (6 + 5) + 8 * 6)  # three eighths, and the keys


def test_groups_are_of_equal_size_and_of_what_is_near():
    torch.manual_seed(0)
    centres = torch.eye(4)
    rows = centres.repeat_interleave(5, 0) * torch.rand(20, 1).add(0.5) + 0.05 * torch.randn(20, 4)
    of = balanced(rows, 4, seed=1)
    assert of.bincount().tolist() == [5] * 4
    assert balanced(rows[torch.randperm(20)], 20).sort().values.tolist() == list(range(20))
    assert max(
        balanced(rows, 4, seed=s).unflatten(0, (4, 5)).eq(of.unflatten(0, (4, 5))[:, :1]).all() for s in range(9)
    )


def test_what_cannot_be_split_is_refused():
    whole = model()
    for given, fields, sentence in (
        (whole, {"experts": 3, "use": 1}, "4 neurons do not make 3 experts"),
        (whole, {"experts": 2, "use": 3}, "of 2 experts 3 cannot be used"),
        (whole, {"experts": 2, "use": 1, "layers": [0]}, "leave layers out"),
        (model(gate="soft"), {"experts": 2, "use": 1}, "gate 'soft' already"),
        (split(whole, experts=2, use=1), {"experts": 2, "use": 1}, "gate 'experts' already"),
        (model(weights="shared", router="attention"), {"experts": 2, "use": 1}, "by shared weights"),
        (mlp(), {"experts": 5, "use": 1}, "48 hidden units, which do not make 5 experts"),
        (split(mlp(), 2, 1), {"experts": 2, "use": 1}, "is split already"),
        (nn.Linear(3, 3), {"experts": 1, "use": 1}, "has no feed-forward maps"),
        (mlp(), {"experts": 2, "use": 1, "layers": [0]}, "Sequential is none"),
        (nn.utils.parametrizations.weight_norm(mlp()[0]) and mlp().to("meta"), {}, "no plain numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            split(given, **fields)
    for given in (whole, mlp()):
        with pytest.raises(InputError, match="is not split"):
            unsplit(given)
    with pytest.raises(InputError, match=r"inn.unsplit takes it off"):
        inn.grow(split(whole, experts=2, use=1))
    with pytest.raises(InputError, match=r"its gate is experts, and the base's is none"):
        inn.graft(whole, inn.cut(split(whole, experts=2, use=1), rounds=[0]))


def decoders():
    transformers = pytest.importorskip("transformers")
    same = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    gpt = {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64}
    torch.manual_seed(0)
    return [
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**same)).eval(),
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**gpt)).eval(),
        transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**same)).eval(),
    ]


def test_the_layers_of_decoders_are_split_that_are_named(tmp_path):
    import transformers

    tokens = torch.arange(20).reshape(2, 10)
    for dense in decoders():
        bar = dense(tokens).logits
        assert torch.equal(split(dense, experts=4, use=4)(tokens).logits, bar)
        few = split(dense, experts=4, use=1, layers=[2])
        assert sum(isinstance(m, ExpertMLP) for m in few.modules()) == 1
        assert not torch.allclose(few(tokens).logits, bar)
        assert few.generate(tokens, max_new_tokens=3, do_sample=False).shape == (2, 13)
        assert alike(dense, unsplit(few))
        with pytest.raises(InputError, match="there is no layer 3"):
            split(dense, experts=4, use=1, layers=[3])
    # What is saved without unsplitting is a dense model in another order.
    few.save_pretrained(tmp_path)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(opened(tokens).logits, bar)


def test_adapters_work_on_experts_and_are_refused_by_surgery():
    peft = pytest.importorskip("peft")
    tokens, dense = torch.arange(20).reshape(2, 10), decoders()[0]
    few = split(dense, experts=4, use=2)
    bar = few(tokens).logits
    options = peft.LoraConfig(target_modules=["gate_proj", "up_proj", "down_proj"], init_lora_weights=False, r=2)
    adapted = peft.get_peft_model(few, options).eval()
    told = adapted(tokens).logits
    assert not torch.allclose(told, bar)
    told.sum().backward()
    assert all(p.grad is not None for name, p in adapted.named_parameters() if "lora" in name)
    for function in (lambda: split(adapted, 4, 2), lambda: unsplit(adapted)):
        with pytest.raises(InputError, match="has an adapter attached"):
            function()
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(merged(tokens).logits, told)
    unsplit(merged)
