"""Narrow embeddings and adaptive heads: the same contract as ever, in every kind of model that has them."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import inn
from inn.config.assemble import model_config
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.models.build import build_model
from inn.nn.symbols import AdaptiveHead
from inn.ops import use_backend
from inn.system.errors import InputError

VOCAB = 30
SMALL = {
    "inn": {"neurons": 2, "width": 16, "rounds": 2, "state": 4},
    "lstm": {"width": 16, "layers": 2, "embedding_std": 0.5},
    "transformer": {"width": 16, "heads": 2, "layers": 2, "window": 5, "embedding_std": 0.5},
    "mamba-stack": {"width": 16, "layers": 2, "state": 4, "embedding_std": 0.5},
}
NARROW = {"embedding_width": 6, "tied": True}
NARROW_UNTIED = {"embedding_width": 6, "tied": False}
ADAPTIVE = {"head": "adaptive", "cutoffs": [4, 12], "tied": False}
OPTIONS = {
    "narrow": NARROW,
    "narrow untied": NARROW_UNTIED,
    "adaptive": ADAPTIVE,
    "narrow adaptive": {**ADAPTIVE, "embedding_width": 6},
    "adaptive, cut by itself": {"head": "adaptive", "tied": False},
}
every_kind = pytest.mark.parametrize("kind", SMALL)
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def small(kind, **options):
    torch.manual_seed(0)
    return build_model(model_config(kind, **{"vocab": VOCAB, **SMALL[kind], **options}))


@pytest.mark.parametrize(
    "kind, options",  # what goes in and comes out is the same code in every kind
    [
        *(("inn", options) for options in OPTIONS.values()),
        *((kind, OPTIONS["narrow adaptive"]) for kind in SMALL if kind != "inn"),
    ],
    ids=str,
)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_any_split_equals_one_pass(kind, options, lengths, seed):
    model = small(kind, **options).double()
    torch.manual_seed(seed)
    x = torch.randint(VOCAB, (2, sum(lengths)))
    reset = torch.rand(x.shape) < 0.15

    def run(cuts):
        state, outputs = None, []
        for part, starts in zip(x.split(cuts, 1), reset.split(cuts, 1)):
            y, state = model(part, state, reset=starts)
            outputs.append(y)
        model.zero_grad()
        torch.cat(outputs, 1).sin().sum().backward()
        return [torch.cat(outputs, 1).detach(), *(p.grad for p in model.parameters())]

    for ours, bar in zip(run(lengths), run([sum(lengths)]), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


@every_kind
@every_option
@pytest.mark.parametrize("in_place", [False, True])
def test_steps_are_the_same_path(kind, options, in_place):
    model = small(kind, **options).double().eval()
    x = torch.randint(VOCAB, (2, 8))
    whole, state = model(x)[0], None
    assert whole.shape == (2, 8, VOCAB)
    for t in range(8):
        logits, state = (model.step_ if in_place else model.step)(x[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])


@every_kind
def test_a_narrow_embedding_has_so_many_numbers_and_two_maps(kind):
    wide, narrow, untied = (small(kind, **fields) for fields in ({"tied": True}, NARROW, NARROW_UNTIED))
    inputs = 32 if kind == "inn" else 16
    assert narrow.embedding.weight.shape == (VOCAB, 6)
    assert wide.num_parameters - narrow.num_parameters == VOCAB * (inputs - 6) - 2 * 6 * inputs
    assert untied.num_parameters - narrow.num_parameters == VOCAB * inputs - 6 * inputs
    assert narrow.parameters_by_part()["widen"] == 6 * inputs


@every_kind
def test_a_narrow_embedding_starts_as_spread_as_a_wide_one(kind):
    spread = []
    for width in (None, 32):
        model = small(kind, vocab=2000, embedding_width=width, embedding_std=0.5)
        spread.append(model.widen(model.embedding.weight[None]).std().item())
    assert spread[1] == pytest.approx(spread[0], rel=0.2)


@every_kind
def test_without_the_options_the_weights_have_the_names_they_had(kind):
    names = {name.split(".")[0] for name in small(kind).state_dict()}
    assert (
        names
        == {
            "inn": {"embedding", "recall", "backbone", "norm", "head"},
            "lstm": {"embedding", "lstm", "head"},
            "transformer": {"embedding", "layers", "norm"},
            "mamba-stack": {"embedding", "backbone", "norm", "head"},
        }[kind]
    )


@given(seed=st.integers(0, 999), cutoffs=st.lists(st.integers(1, 29), min_size=1, max_size=2, unique=True).map(sorted))
def test_the_adaptive_head_is_a_cluster_and_then_a_symbol_of_it(seed, cutoffs):
    torch.manual_seed(seed)
    head = AdaptiveHead(16, VOCAB, cutoffs).double()
    for p in head.parameters():
        nn.init.normal_(p)
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    first = head.softmax.head(x).softmax(-1)
    expected = [first[..., : cutoffs[0]]]
    for k, (narrow, out) in enumerate(head.softmax.tail):
        assert narrow.out_features == 16 // 4 ** (k + 1)
        expected.append(first[..., cutoffs[0] + k, None] * out(narrow(x)).softmax(-1))
    torch.testing.assert_close(head(x), torch.cat(expected, -1).log())
    # and as logits they mean themselves
    torch.testing.assert_close(head(x).log_softmax(-1), head(x))


@every_kind
@every_option
def test_the_first_loss_is_that_of_a_guess(kind, options):
    model = small(kind, **{**options, "vocab": 300, "cutoffs": None}).eval()
    x = torch.randint(300, (2, 200))
    loss = F.cross_entropy(model(x)[0][:, :-1].flatten(0, 1), x[:, 1:].flatten()).item()
    assert abs(loss - math.log(300)) < 0.35


@every_kind
@every_option
def test_flops_of_the_way_in_and_out_are_those_that_torch_counts(kind, options):
    model = small(kind, **options, dropout=0.0).double()
    x = torch.randint(VOCAB, (2, 5))
    with torch.no_grad(), use_backend("torch"), FlopCounterMode(display=False) as counter:
        out = model.widen(model.embedding(x))
        if "stack" in kind or kind == "inn":
            model.logits(torch.randn(2, 5, model.graph.config.neurons, 16).double())
        else:
            model.head(out, model.embedding)
    ours = sum(n for part, n in model.flops().items() if part in ("embedding", "head"))
    assert counter.get_total_flops() / x.numel() == ours


@every_kind
@every_option
def test_every_weight_learns(kind, options):
    model = small(kind, **options)
    x = torch.randint(VOCAB, (2, 9))
    F.cross_entropy(model(x)[0].flatten(0, 1), x.flatten()).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None}
    assert silent == set()


@every_kind
@every_option
def test_bfloat16_comes_close(kind, options):
    model = small(kind, **options).eval()
    x = torch.randint(VOCAB, (2, 9))
    exact = model(x)[0].log_softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x)[0]
    assert rough.dtype == (torch.float32 if "head" in options else torch.bfloat16)
    torch.testing.assert_close(rough.float().log_softmax(-1), exact, rtol=0.1, atol=0.1)


@every_option
def test_identical_neurons_still_collapse(options):
    model = inn.INN(preset="paper", vocab=VOCAB, neurons=3, width=16, rounds=1, heads=2, **options).double().eval()
    x = torch.randint(VOCAB, (2, 9))
    torch.testing.assert_close(inn.collapse(model)(x)[0], model(x)[0], rtol=0, atol=1e-6)


@every_kind
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"head": "adaptive", "tied": True}, "set tied false"),
        ({"cutoffs": [2]}, "set head adaptive"),
        ({**ADAPTIVE, "cutoffs": []}, "at least one"),
        ({**ADAPTIVE, "cutoffs": [4, 4]}, "rise"),
        ({**ADAPTIVE, "cutoffs": [0, 4]}, "above 0"),
        ({**ADAPTIVE, "cutoffs": [4, 30]}, "the 30 symbols"),
        ({**ADAPTIVE, "cutoffs": [2, 4, 8]}, "fewer cutoffs"),
        ({**ADAPTIVE, "cutoffs": None, "vocab": 4}, "the 4 symbols"),
        ({"head": "adaptiv"}, "did you mean 'adaptive'"),
        ({"embedding_width": 0}, "embedding_width must be at least 1"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_a_sentence(kind, options, sentence):
    width = {"width": 8, "neurons": 1} if kind == "inn" and options.get("cutoffs") == [2, 4, 8] else {}
    with pytest.raises(InputError, match=sentence):
        small(kind, **options, **width)


def test_an_adaptive_head_needs_symbols_in_the_order_of_their_frequency():
    model = model_config("lstm", vocab=VOCAB, **ADAPTIVE)
    RunConfig(model, DataConfig(vocabulary="words"), TrainConfig())
    with pytest.raises(InputError, match="numbered by frequency"):
        RunConfig(model, DataConfig(vocabulary="characters"), TrainConfig())


@every_kind
def test_a_configuration_from_before_these_options_is_what_it_was(kind):
    tree = {"model": asdict(model_config(kind)), "data": asdict(DataConfig()), "train": asdict(TrainConfig())}
    old = {section: dict(fields) for section, fields in tree.items()}
    for name in ("embedding_width", "head", "cutoffs"):
        del old["model"][name]
    assert RunConfig.from_dict(old).to_dict() == tree
