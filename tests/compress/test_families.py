"""Every family of decoders: each projection is taken, or told as left out; what comes of it opens again."""

import copy

import pytest
import torch
import transformers

from inn.compress import compress
from inn.compress.blocks import find_blocks, is_linear, left_out, neuronal, rows_of_weight
from inn.compress.folder import merge, round_to, save
from inn.compress.measure import writing_speeds
from inn.compress.pointwise import read_by
from inn.compress.run import coverage
from inn.compress.topologies import Block
from inn.system.errors import InputError

from .families import ENCODERS, FAMILIES, tiny

TOKENS = torch.randint(50, (5, 16), generator=torch.Generator().manual_seed(0))
FOLLOWED = (
    "OPT",
    "GPTNeoX",
    "Qwen2Moe",
    "DeepseekV3",
    "BertLMHeadModel",
    "Llama4",
    "OpenAIGPTLMHeadModel",
    "Gemma3ForConditionalGeneration",
)
"""Families that the plan `auto` is quickly tried on: flat rows, parallel sums, experts, names alike, routers, lists."""


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_of_every_layer_is_taken_once_or_told(family):
    model = tiny(family)
    blocks = find_blocks(model)
    taken: dict[str, set[int]] = {}
    for p in blocks.values():
        rows = taken.setdefault(p.path, set())
        assert rows.isdisjoint(range(p.first, p.last))  # no two blocks hold a row
        rows |= set(range(p.first, p.last))
    told = left_out(model, blocks.values())
    path = next(iter(taken)).split(".")
    layers = model.get_submodule(".".join(path[: next(i for i, part in enumerate(path) if part.isdecimal())]))
    matrices = sum(p.numel() for p in layers.parameters() if p.ndim > 1)
    covered = sum(
        len(rows) * model.get_submodule(p).weight.numel() // max(rows_of(model, p), 1) for p, rows in taken.items()
    )
    assert covered + sum(told.values()) == matrices
    assert not any("proj" in name and "experts" not in name for name in told)


def rows_of(model, path: str) -> int:
    module = model.get_submodule(path)
    return module.weight.shape[0 if isinstance(module, torch.nn.Linear) else 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_named_plan_takes_all_of_it(family):
    model, before = tiny(family), tiny(family)
    said = coverage(model, TOKENS, "svd-llm", 0.5)
    outcome = compress(model, TOKENS, "svd-llm", 0.5)
    assert outcome.coverage == said
    saved = sum(p.numel() for p in before.parameters()) - sum(p.numel() for p in model.parameters())
    assert saved == pytest.approx(0.5 * said.covered, rel=0.15)
    assert said.covered / (said.covered + sum(said.left.values())) > 0.75 or any(
        "experts" in name for name in said.left
    )
    with torch.no_grad():
        assert torch.isfinite(model(input_ids=TOKENS).logits).all()


@pytest.mark.parametrize("family", [f if f in FOLLOWED else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES])
def test_the_search_follows_it_and_the_folder_opens(family, tmp_path):
    model = tiny(family)
    compress(model, TOKENS, "auto", 0.5)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model(input_ids=TOKENS).logits
        back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert torch.equal(back(input_ids=TOKENS).logits, wanted)


@pytest.mark.parametrize("family", ["GPT2LMHeadModel", "GPTBigCode", "Mamba", "BertLMHeadModel"])
def test_a_folder_of_bytes_opens_whatever_is_started_anew(family, tmp_path):
    """Models that touch weights of their parts when they are opened, and one whose tied head has a bias."""
    model = tiny(family)
    compress(model, TOKENS, "groups", 0.5)
    save(round_to(model, 8), tmp_path)
    with torch.no_grad():
        assert torch.equal(type(model).from_pretrained(tmp_path).eval()(TOKENS).logits, model(TOKENS).logits)


@pytest.mark.parametrize(
    "family", ["Llama", "GPT2LMHeadModel", "Llama4", "OpenAIGPTLMHeadModel", "DeepseekV3", "Bloom"]
)
def test_dense_again_its_folder_opens_as_an_ordinary_one(family, tmp_path):
    """Where the configuration can say how many neurons are left, and where it cannot."""
    model = tiny(family)
    compress(model, TOKENS, "auto", 0.5)
    with torch.no_grad():
        wanted = model(TOKENS).logits
        merge(model).save_pretrained(tmp_path)
        assert not (tmp_path / "neuronal.py").exists()
        back = type(model).from_pretrained(tmp_path).eval()(TOKENS).logits
    torch.testing.assert_close(back, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["Llama", "Mamba", "Mamba2", "OpenAIGPTLMHeadModel", "GPT2LMHeadModel"])
def test_it_is_measured_how_fast_each_writes(family):
    """With a cache of whatever name, without one, and in few places."""
    assert writing_speeds({"": tiny(family)}, TOKENS.flatten()[:64], rounds=1)[""] > 0


def test_what_has_a_name_in_common_is_told_apart():
    roles = {block.role for block in find_blocks(tiny("BertLMHeadModel")) if block.layer == 0}
    assert roles == set("qkvoud")
    deep = find_blocks(tiny("Qwen2Moe"))
    assert deep[Block(0, "u")].path == "model.layers.0.mlp.shared_expert.up_proj"


def test_the_least_deep_of_equal_names_has_the_letter():
    model = tiny("Llama")
    for layer in model.model.layers:
        layer.mlp.extra = torch.nn.ModuleDict({"up_proj": torch.nn.Linear(32, 40)})
    found = {block.role: p.path for block, p in find_blocks(model).items() if block.layer == 1}
    assert found["u"] == "model.layers.1.mlp.up_proj"
    assert found["mlp.extra.up_proj"] == "model.layers.1.mlp.extra.up_proj"


@pytest.mark.parametrize(
    "family, rows", [("GPTBigCode", [32, 8, 8]), ("Phi3", [32, 16, 16]), ("GPT2LMHeadModel", [32] * 3)]
)
def test_a_fused_layer_is_split_where_its_model_splits_it(family, rows):
    blocks = find_blocks(tiny(family))
    assert [blocks[Block(0, role)].last - blocks[Block(0, role)].first for role in "qkv"] == rows


@pytest.mark.parametrize(
    "family, name", [("CodeGen", "qkv_proj"), ("GPTNeoX", "query_key_value"), ("Falcon", "query_key_value")]
)
def test_one_that_interleaves_heads_stays_whole(family, name):
    model = tiny(family)
    blocks = find_blocks(model)
    assert blocks[Block(0, name)].last == model.get_submodule(blocks[Block(0, name)].path).weight.shape[0]
    assert Block(0, "q") not in blocks


def test_a_folder_that_split_it_before_opens_as_it_was():
    from inn.compress.folder import build

    model = tiny("CodeGen")
    path, layer = "transformer.h.0.attn.qkv_proj", model.transformer.h[0].attn.qkv_proj
    rows = layer.out_features // 3
    build(model, [{"rank": 4, "blocks": [[path, rows, 2 * rows]]}])
    assert [place.first for place, _ in neuronal(model)] == [rows]
    assert torch.equal(model.transformer.h[0].attn.qkv_proj.parts[2].weight, layer.weight[2 * rows :])


def test_experts_that_are_left_out_are_told_with_their_share():
    said = str(coverage(tiny("Mixtral"), TOKENS, "auto", 0.5))
    assert said.startswith("the plan covers 14% of the layers' weights, 13% of the model; left as they are: ")
    assert "model.layers.*.mlp.experts.gate_up_proj 56.8%" in said


def test_experts_read_some_symbols_only():
    """Layers in a list, each handed the rows of its symbols: those of two streams are not the same."""

    class Routed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = torch.nn.ModuleList(torch.nn.Linear(32, 32) for _ in range(2))

        def forward(self, x):
            flat = x.flatten(0, -2)
            out, to = torch.zeros_like(flat), flat[:, 0] > 0
            for number, expert in enumerate(self.experts):
                chosen = to == bool(number)
                out[chosen] = expert(flat[chosen])
            return out.view_as(x)

    model = tiny("Llama")
    for layer in model.model.layers:
        layer.mlp = Routed()
    dense = copy.deepcopy(model)
    outcome = compress(model, TOKENS, "auto", 0.8)
    assert {"0", "1"} <= {b.role.rsplit(".")[-1] for b in outcome.blocks if "experts" in b.role or b.role.isdecimal()}
    with torch.no_grad():
        wanted, found = dense(input_ids=TOKENS).logits, model(input_ids=TOKENS).logits
    assert (found - wanted).norm() < 0.5 * wanted.norm()


def test_a_model_in_training_is_calibrated_without_dropout():
    found = []
    for training in (False, True):
        model = tiny("GPT2LMHeadModel").train(training)
        compress(model, TOKENS, "auto", 0.5)
        assert {m.training for m in model.modules()} == {training}
        found.append(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(found[0].values(), found[1].values(), strict=True))


def spoilt(how: str) -> torch.nn.Module:
    model = tiny("Llama")
    layer = model.model.layers[1].mlp
    if how == "adapter":
        peft = pytest.importorskip("peft")
        peft.get_peft_model(model, peft.LoraConfig(target_modules=["up_proj"], r=2))
    elif how == "parametrised":
        torch.nn.utils.parametrizations.weight_norm(layer.up_proj)
    elif how == "quantised":
        layer.up_proj.weight = torch.nn.Parameter(layer.up_proj.weight.to(torch.int8), requires_grad=False)
    else:
        layer.up_proj.to("meta")
    return model


@pytest.mark.parametrize(
    "how, says",
    [
        ("adapter", "has an adapter attached; merge it first"),
        ("parametrised", "is parametrised; remove the parametrisation first"),
        ("quantised", "is quantised"),
        ("offloaded", "is offloaded, or was never loaded"),
    ],
)
def test_weights_that_are_not_plain_numbers_are_refused(how, says):
    model = spoilt(how)
    with pytest.raises(InputError, match=says):
        compress(model, TOKENS, "auto", 0.5)


def test_rows_that_a_model_has_no_place_for_are_refused():
    llama, opt = tiny("Llama"), tiny("OPT")
    for rows, says in (
        (torch.full((2, 8), 50), "symbols from 50 to 50, and LlamaForCausalLM has those from 0 to 49"),
        (torch.full((2, 8), -1), "symbols from -1 to -1"),
        (torch.rand(2, 8), "must be rows of symbols"),
    ):
        with pytest.raises(InputError, match=says):
            compress(llama, rows, "svd", 0.5)
    with pytest.raises(InputError, match="has places for 64 symbols, and rows have 65; use --length 64 or less"):
        compress(opt, torch.zeros(2, 65, dtype=torch.long), "svd", 0.5)
    compress(llama, torch.zeros(2, 65, dtype=torch.long), "svd", 0.5)  # rotary: it reads on


@pytest.mark.parametrize(
    "kind, fields, says",
    [
        ("T5ForConditionalGeneration", {"d_model": 32, "num_layers": 1}, "is an encoder and a decoder at once"),
        ("ConvNextModel", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}, "is made of stages of differ"),
    ],
)
def test_what_has_no_one_list_of_layers_is_refused(kind, fields, says):
    kind = getattr(transformers, kind)
    with pytest.raises(InputError, match=says):
        compress(kind(kind.config_class(**fields)), TOKENS, "auto", 0.5)


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_is_compressed_and_its_folder_opens(family, tmp_path):
    model, dense = tiny(family), tiny(family)
    other = {"pixel_values": torch.randn(5, 3, 16, 16), "input_values": torch.randn(5, 200)}
    name = model.main_input_name
    rows = {name: other[name]} if name in other else TOKENS
    given = rows if isinstance(rows, dict) else {"input_ids": rows}
    outcome = compress(model, rows, "qkv-o-ugd" if "T5" in family else "auto", 0.8)
    wanted = {"pointwise_conv1", "pointwise_conv2", "linear_q"} if "Conformer" in family else set("qkvoud")
    assert {block.role for block in outcome.blocks} >= wanted
    assert all("bias" in name or "depthwise" in name for name in outcome.coverage.left)
    model.save_pretrained(tmp_path)
    opened = getattr(transformers, "AutoModel" + family.partition("For")[1] + family.partition("For")[2], None)
    back = (type(model) if opened is None or family.endswith("Model") else opened).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        wanted, found, again = (m(**given)[0] for m in (dense, model, back))
        merged = merge(back)(**given)[0]
    assert torch.equal(found, again)
    assert torch.allclose(found, merged, atol=1e-4)
    assert {n for n, _ in back.named_parameters()} == {n for n, _ in dense.named_parameters()}
    assert 0 < (found - wanted).norm() < 0.5 * wanted.norm()


def test_rows_of_an_encoder_are_its_own_inputs_without_padding():
    vit, bert = tiny("ViTForImageClassification"), tiny("BertForMaskedLM")
    ones = torch.ones_like(TOKENS)
    for model, rows, says in (
        (vit, TOKENS, "takes no 'input_ids'; give rows of its 'pixel_values'"),
        (vit, {"pixel_values": torch.randn(0, 3, 16, 16)}, "there are no rows to calibrate on"),
        (vit, {"pixel_values": torch.randn(2, 3, 8, 8)}, "cannot read pixel_values alone: .*size"),
        (bert, {"input_ids": TOKENS, "attention_mask": ones[:2]}, "must have equally many rows"),
        (bert, {"input_ids": TOKENS, "attention_mask": ones.tril()}, "give rows of equal length without a mask"),
    ):
        with pytest.raises(InputError, match=says):
            compress(model, rows, "svd-llm", 0.5)
    compress(bert, {"input_ids": TOKENS, "attention_mask": ones}, "svd-llm", 0.5)


@pytest.mark.parametrize(
    "conv, linear",
    [
        (torch.nn.Conv2d(6, 5, 1, stride=2), True),
        (torch.nn.Conv1d(6, 5, 1), True),
        (torch.nn.Conv2d(6, 5, 1, padding=1), False),
        (torch.nn.Conv2d(6, 4, 1, groups=2), False),
        (torch.nn.Conv1d(6, 5, 3), False),
    ],
)
def test_a_convolution_of_one_place_is_a_linear_map_of_channels(conv, linear):
    assert is_linear(conv) == linear
    if linear:
        x = torch.randn(2, 6, *[7] * len(conv.kernel_size))
        rows = torch.nn.functional.linear(read_by(conv, x), rows_of_weight(conv), conv.bias)
        assert torch.allclose(rows.movedim(-1, 1), conv(x), atol=1e-6)
