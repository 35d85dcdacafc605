"""Whole models: every architecture, every plan, what is counted, what is refused."""

import copy
import dataclasses
import math
import weakref

import pytest
import torch

from inn.compress.blocks import find_blocks, neuronal, weight_of
from inn.compress.calibrate import Stream, importances, rows_of
from inn.compress.following import Read, stages
from inn.compress.plans import PLANS, CompressionPlan, named_plan
from inn.compress.run import compress
from inn.compress.topologies import Block
from inn.system.errors import InputError

from .conftest import TOKENS

EXACT = dataclasses.replace(PLANS["svd-llm"], topology="q-k-v-o-u-g-d")


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def error(model, dense) -> float:
    return float((logits(model) - dense).norm() / dense.norm())


def test_more_states_come_closer(model):
    dense = logits(model)
    errors = []
    for keep in (0.3, 0.6, 1.0):
        twin = copy.deepcopy(model)
        compress(twin, TOKENS, CompressionPlan("search"), keep)
        errors.append(error(twin, dense))
    assert errors[0] > errors[1] > errors[2]


def test_the_share_that_is_kept_is_the_share_that_was_asked_for(model):
    for keep in (0.4, 0.7):
        for allocate in ("even", "energy"):
            twin = copy.deepcopy(model)
            blocks = find_blocks(model)
            outcome = compress(twin, TOKENS, CompressionPlan("search", allocate=allocate), keep)
            before = sum(weight_of(model, blocks[b]).numel() for b in outcome.blocks)
            after = sum(weight_of(model, blocks[b]).numel() for b in outcome.dense) + sum(
                rank
                * (
                    sum(len(weight_of(model, blocks[b])) for b in g)
                    + max(weight_of(model, blocks[b]).shape[1] for b in g)
                )
                for g, rank in outcome.groups
            )
            assert keep - 0.12 < after / before < keep + 0.06
            saved = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in twin.parameters())
            assert saved == before - after


@pytest.mark.parametrize("name", sorted(PLANS))
def test_every_plan_runs_and_says_what_it_lost(small, name):
    dense = logits(small)
    outcome = compress(small, TOKENS, name, 0.6)
    assert 0 < error(small, dense) < 1
    assert all(0 <= share <= 1 for share in outcome.lost.values())
    assert len(outcome.lost) == sum(len(group) for group, _ in (*outcome.groups, *outcome.neurons))


def test_in_bfloat16_much_the_same_and_weights_stay_what_they_were(model):
    twin = copy.deepcopy(model)
    outcome = compress(model, TOKENS, "auto", 0.6)
    with torch.autocast("cpu", torch.bfloat16):
        again = compress(twin, TOKENS, "auto", 0.6)
    assert {p.dtype for p in twin.parameters()} == {torch.float32}
    assert sum(again.lost.values()) == pytest.approx(sum(outcome.lost.values()), rel=0.05)


def test_whitening_beats_plain_svd_and_fisher_with_energy_beats_both(small):
    """On what they are for: the loss on the text itself, at half the parameters."""
    small.train()  # a model that knows its text, so that losing something costs something
    optimizer = torch.optim.Adam(small.parameters(), 3e-3)
    for _ in range(60):
        loss = small(input_ids=TOKENS, labels=TOKENS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    small.eval()
    losses = {}
    for name, plan in {"svd": "svd", "svd-llm": "svd-llm", "auto": "auto"}.items():
        twin = copy.deepcopy(small)
        compress(twin, TOKENS, plan, 0.4)
        with torch.no_grad():
            losses[name] = float(twin(input_ids=TOKENS, labels=TOKENS).loss)
    assert losses["auto"] < losses["svd-llm"] < losses["svd"]


def test_asvd_weighs_an_input_by_the_root_of_its_usual_size(small):
    """ASVD (arXiv 2312.05821, alpha 0.5): the truncated SVD of W S, times the inverse of S."""
    first = small.model.layers[0]
    with torch.no_grad():  # inputs of very different sizes
        first.input_layernorm.weight.copy_(torch.logspace(-2, 2, 32)[torch.randperm(32)])
        reads = first.input_layernorm(small.model.embed_tokens(TOKENS)).flatten(0, 1).double()
    weight = first.self_attn.q_proj.weight.detach().double()
    outcome = compress(small, TOKENS, "asvd", 0.5)
    rank = next(rank for group, rank in outcome.groups if group == (Block(0, "q"),))
    scale = reads.square().mean(0).sqrt().sqrt()
    u, s, v = torch.linalg.svd(weight * scale)
    wanted = u[:, :rank] * s[:rank] @ v[:rank] / scale
    (found,) = [m.weight for p, m in neuronal(small) if p.path == "model.layers.0.self_attn.q_proj"]
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_moments_layer_by_layer_are_those_of_the_whole_model(model):
    blocks = find_blocks(model)
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        model.get_submodule(p.path).register_forward_pre_hook(
            lambda module, args, path=p.path: seen.__setitem__(path, args[0].detach().flatten(0, -2).double())
        )
        for p in {p.path: p for p in blocks.values()}.values()
    ]
    logits(model)
    for hook in hooks:
        hook.remove()
    stream = Stream(model, TOKENS)
    for layer in range(len(stream.layers)):
        moments, stream.batches = stream.moments(blocks, layer, stream.batches)
        for block, moment in moments.items():
            x = seen[blocks[block].path]
            torch.testing.assert_close(moment, x.T @ x, rtol=1e-4, atol=1e-4)
    reached = {blocks[b].path for b in moments}
    assert reached


def test_projections_that_read_the_same_share_one_moment(small):
    moments, _ = (stream := Stream(small, TOKENS)).moments(find_blocks(small), 0, stream.batches)
    assert moments[Block(0, "q")] is moments[Block(0, "k")] is moments[Block(0, "v")]
    assert moments[Block(0, "o")] is not moments[Block(0, "q")]


def test_importances_are_the_squared_gradients_at_the_outputs(small):
    blocks = {Block(1, "d"): find_blocks(small)[Block(1, "d")]}
    found = importances(small, TOKENS, blocks)[Block(1, "d")]
    layer = small.model.layers[1].mlp.down_proj
    wanted = torch.zeros(32, dtype=torch.float64)
    kept = []
    for row in TOKENS:
        kept.clear()
        hook = layer.register_forward_hook(lambda m, a, out: (out.retain_grad(), kept.append(out))[0])
        loss = torch.nn.functional.cross_entropy(small(input_ids=row[None]).logits[0, :-1], row[1:], reduction="sum")
        loss.backward()
        hook.remove()
        wanted += kept[0].grad.double().square().flatten(0, 1).sum(0)
    torch.testing.assert_close(found, wanted / (TOKENS.shape[0] * (TOKENS.shape[1] - 1)), rtol=1e-4, atol=1e-12)
    assert all(p.requires_grad for p in small.parameters())


def test_sequential_calibration_sees_what_the_layers_before_have_become(small):
    dense = logits(small)
    plan = dataclasses.replace(EXACT, refit=True)
    once, again = copy.deepcopy(small), copy.deepcopy(small)
    compress(once, TOKENS, plan, 0.3)
    compress(again, TOKENS, dataclasses.replace(plan, sequential="inputs"), 0.3)
    assert error(once, dense) != error(again, dense)
    first = [{str(p.path): m.weight for p, m in neuronal(twin)} for twin in (once, again)]
    same = "model.layers.0.self_attn.q_proj"
    torch.testing.assert_close(first[0][same], first[1][same])  # before the first layer there is nothing


def test_corrected_weights_make_up_for_what_was_lost_before(model):
    """Every plan of the kind is closer to the dense model when it aims at what that gives out."""
    if type(model).__name__ == "MambaForCausalLM":
        pytest.skip("it has no queries, keys and values")
    dense, gaps = logits(model), {}
    for sequential in ("no", "inputs", "outputs"):
        twin = copy.deepcopy(model)
        compress(twin, TOKENS, dataclasses.replace(PLANS["svd-llm"], sequential=sequential), 0.4)
        gaps[sequential] = error(twin, dense)
    assert gaps["outputs"] < gaps["inputs"]
    assert gaps["outputs"] < gaps["no"]


@pytest.mark.parametrize("topology", ["qqkkvv", "hybrid5", "qkv-o-ugd", "search"])
def test_groups_across_layers_and_inputs_are_followed(small, topology):
    twin = copy.deepcopy(small)
    dense = logits(small)
    compress(small, TOKENS, CompressionPlan(topology, allocate="even"), 1.0)
    compress(twin, TOKENS, CompressionPlan(topology, allocate="even"), 0.5)
    assert error(small, dense) < error(twin, dense)


def test_inputs_that_are_mapped_are_mapped_back():
    torch.manual_seed(0)
    x, turn = (torch.linalg.qr(torch.randn(n, 6, dtype=torch.float64)).Q * n**0.5 for n in (400, 6))
    w = torch.randn(3, 6, dtype=torch.float64)
    there = x @ turn
    found = Read(there.T @ there * 1e6, there.T @ x * 1e6).corrected(w)
    gap = (there @ found.T - x @ w.T).norm() / (x @ w.T).norm()
    assert gap < 0.05  # the ridge
    same = Read(x.T @ x, x.T @ x).corrected(w)
    torch.testing.assert_close(same, w)
    nothing = Read(torch.zeros(6, 6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)).corrected(w)
    torch.testing.assert_close(nothing, w)


def test_groups_are_reached_in_the_order_of_reading(small):
    blocks = find_blocks(small)
    order = Stream(small, TOKENS[:1]).order(blocks)
    assert [order[Block(1, role)] for role in "qkvogud"] == [0, 0, 0, 1, 2, 2, 3]
    groups = [(Block(0, "d"),), (Block(0, "q"), Block(1, "q")), (Block(0, "k"),), (Block(1, "o"), Block(1, "q"))]
    assert list(stages(order, groups)) == [(0, [1, 2]), (0, [0]), (1, [3])]


def test_a_layer_that_breaks_on_the_way_is_named(small):
    with torch.no_grad():
        small.model.layers[2].self_attn.v_proj.weight[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"layers\.2\.self_attn\.o_proj' are not finite"):
        compress(small, TOKENS, CompressionPlan("q-k-o-u-g-d", allocate="even"), 0.5)


def test_the_gate_leaves_what_would_lose_most_dense(small):
    outcome = compress(small, TOKENS, dataclasses.replace(EXACT, gate=1.2), 0.5)
    assert outcome.dense
    assert not set(outcome.dense) & set(outcome.lost)
    blocks = find_blocks_of_dense(small)
    assert set(outcome.dense) <= blocks


def find_blocks_of_dense(model):
    from inn.compress.blocks import is_linear

    names = {
        "q_proj": "q",
        "k_proj": "k",
        "v_proj": "v",
        "o_proj": "o",
        "up_proj": "u",
        "gate_proj": "g",
        "down_proj": "d",
    }
    return {
        Block(i, names[name.rsplit(".", 1)[-1]])
        for i, layer in enumerate(model.model.layers)
        for name, m in layer.named_modules()
        if is_linear(m) and name.rsplit(".", 1)[-1] in names
    }


def test_only_the_projections_that_were_asked_for(small):
    before = small.model.layers[0].mlp.up_proj
    outcome = compress(small, TOKENS, "auto", 0.5, roles="qkv")
    assert {block.role for block in outcome.blocks} == set("qkv")
    assert small.model.layers[0].mlp.up_proj is before


def test_grouped_queries_share_with_fewer_keys(small):
    compress(small, TOKENS, CompressionPlan("qkv", "moments", allocate="even"), 0.5)
    attention = small.model.layers[0].self_attn
    assert attention.q_proj.reads is attention.k_proj.reads is attention.v_proj.reads
    assert (attention.q_proj.out_features, attention.k_proj.out_features) == (32, 16)


def test_the_search_finds_nothing_worse_than_every_block_alone(small):
    dense = logits(small)
    alone, found = copy.deepcopy(small), copy.deepcopy(small)
    # Weights as the dense model has them: what is lost is then what the search goes by.
    a = compress(alone, TOKENS, CompressionPlan("q-k-v-o-u-g-d", sequential="no"), 0.5)
    b = compress(found, TOKENS, CompressionPlan("search", sequential="no"), 0.5)
    assert any(len(group) > 1 for group, _ in b.groups)
    assert error(found, dense) < error(alone, dense)
    assert len(a.groups) == 28


def test_rows_are_drawn_without_overlap():
    text = torch.arange(100)
    rows = rows_of(text, 5, 10, seed=3)
    assert rows.shape == (5, 10)
    assert len(set(rows.flatten().tolist())) == 50
    assert not torch.equal(rows, rows_of(text, 5, 10, seed=4))


@pytest.mark.parametrize("keep", [0, -0.1, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(small, keep):
    with pytest.raises(InputError, match=f"keep must be above 0 and at most 1, not {keep}"):
        compress(small, TOKENS, "svd", keep)


def test_bad_input_is_told_in_one_sentence(small):
    with pytest.raises(InputError, match="projection 'x'"):
        compress(small, TOKENS, "svd", 0.5, roles="x")
    with pytest.raises(InputError, match="plan"):
        named_plan("sdv-llm!")
    with pytest.raises(InputError, match="has 10 symbols, and 2 rows of 6 need 12"):
        rows_of(torch.arange(10), 2, 6)
    with pytest.raises(InputError, match="must be rows of symbols"):
        compress(small, torch.arange(5), "svd", 0.5)
    with pytest.raises(InputError, match="has no list of"):
        compress(torch.nn.Linear(2, 2), TOKENS, "svd", 0.5)
    compress(small, TOKENS, "svd", 0.5)
    with pytest.raises(InputError, match=r"compressed already \(layer 0, self_attn.q_proj\)"):
        compress(small, TOKENS, "svd", 0.5)


def test_activations_that_are_not_finite_name_the_layer(small):
    with torch.no_grad():
        small.model.layers[2].input_layernorm.weight[0] = math.inf
    with pytest.raises(InputError, match=r"the inputs of 'model\.layers\.2\.self_attn\.q_proj' are not finite"):
        compress(small, TOKENS, "svd-llm", 0.5)


def test_a_text_of_one_symbol_repeated_is_handled(small):
    """Its moments have rank one or so."""
    rows = torch.zeros(2, 8, dtype=torch.long)
    compress(small, rows, "auto", 0.5)
    assert torch.isfinite(logits(small)).all()


def test_what_is_replaced_is_let_go_of(small):
    """While the work is on: in memory is never the dense model beside the compressed one."""
    dense = [weakref.ref(layer.mlp.up_proj) for layer in small.model.layers]
    alive: list[int] = []
    compress(small, TOKENS, "svd-llm", 0.5, report=lambda *_: alive.append(sum(layer() is not None for layer in dense)))
    assert alive == [3, 2, 1, 0]
