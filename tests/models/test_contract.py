"""What every rival owes: causality, any split, reset, mask, a state that is a value, a first loss that is a guess."""

import math
import pydoc_data.topics
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from inn.config.assemble import model_config
from inn.models.build import MODELS, build_model
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.system.errors import InputError

from .conftest import SMALL

VOCAB = 7
KINDS = sorted(SMALL)
LEARNING = [k for k in KINDS if k != "ngram"]
OWN_STREAM = [k for k in KINDS if k != "mamba-stack-transposed"]  # rows of the batch do not meet
CARRYING = [k for k in LEARNING if k in OWN_STREAM]
WIDE = 11  # longer than two windows of the small Transformers


def tokens(*shape, seed=1):
    return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def assert_same_state(a, b):
    assert set(a) == set(b)
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-8, atol=1e-10)


def test_every_kind_of_configuration_has_a_model():
    assert all(MODELS.options(kind) is not None for kind in MODELS)
    assert all(issubclass(cls, SequenceModel) for cls in MODELS.values())


def test_an_unknown_kind_names_the_nearest():
    config = model_config("lstm")
    config.kind = "lstn"
    with pytest.raises(InputError, match="lstm"):
        build_model(config)


@pytest.mark.parametrize(
    "kind, fields, count",
    [
        ("mamba-stack", {}, 2_637_083),
        ("mamba-stack", {"width": 320}, 4_064_347),
        ("mamba-stack-transposed", {}, 2_637_083),
        ("transformer-paper", {}, 4_745_499),
        ("ngram", {}, 0),
        # embedding, 2 layers of four gates (two matrices, two biases), bias of the head
        ("lstm", {"width": 64, "tied": True}, 27 * 64 + 2 * (2 * 4 * 64 * 64 + 2 * 4 * 64) + 27),
        ("lstm", {"width": 64}, 2 * 27 * 64 + 2 * (2 * 4 * 64 * 64 + 2 * 4 * 64) + 27),
        # embedding, 2 layers (4 attention maps, 3 feed-forward, 2 gains), last gain
        ("transformer", {"width": 64, "layers": 2}, 27 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 176 + 2 * 64) + 64),
    ],
    ids=str,
)
def test_parameter_counts(kind, fields, count):
    model = build_model(model_config(kind, vocab=27, **fields))
    assert model.num_parameters == count == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_split_equals_one_pass_with_gradients_through_the_state(build, kind, data):
    model = build(kind)
    lengths = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    time = sum(lengths)
    x = torch.randint(VOCAB, (2, time))
    reset = torch.rand(2, time) < 0.15 if data.draw(st.booleans()) else None
    mask = torch.rand(2, time) < 0.7 if data.draw(st.booleans()) else None
    live = torch.ones_like(x, dtype=torch.bool) if mask is None else mask

    def run(cuts):
        state, outputs, start = None, [], 0
        for n in cuts:
            at = slice(start, start + n)
            part = {"reset": None if reset is None else reset[:, at], "mask": None if mask is None else mask[:, at]}
            y, state = model(x[:, at], state, **part)
            outputs.append(y)
            start += n
        y = torch.cat(outputs, dim=1)[live]
        assert isinstance(state, State)
        floats = [t for t in state.values() if t.is_floating_point()]
        gradients = []
        if kind in LEARNING:
            loss = y.sin().sum() + sum(t.sin().sum() for t in floats)
            model.zero_grad()
            loss.backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert gradients
        return [y.detach(), *(state[key].detach() for key in sorted(state)), *gradients]

    for ours, bar in zip(run(lengths), run([time]), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1, 4, 5, 7])
def test_packed_sequences_equal_separate_ones(build, kind, first):
    model = build(kind)
    a, b = tokens(2, first), tokens(2, 9, seed=2)
    reset = torch.zeros(2, first + 9, dtype=torch.bool)
    reset[:, first] = True
    packed, last = model(torch.cat((a, b), dim=1), reset=reset)
    torch.testing.assert_close(packed[:, :first], model(a)[0])
    fresh, fresh_last = model(b)
    torch.testing.assert_close(packed[:, first:], fresh)
    assert_same_state(last, fresh_last)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_of_one_row_leaves_the_others_alone(build, kind):
    model = build(kind)
    x, y = tokens(3, 6), tokens(3, 6, seed=2)
    state = model(x)[1]
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[1, 0] = True
    logits, last = model(y, state, reset=reset)
    carried, carried_last = model(y, state)
    fresh, fresh_last = model(y)
    torch.testing.assert_close(logits[[0, 2]], carried[[0, 2]])
    torch.testing.assert_close(logits[1], fresh[1])
    assert_same_state(last.select_batch([0, 2]), carried_last.select_batch([0, 2]))
    assert_same_state(last.select_batch([1]), fresh_last.select_batch([1]))


@pytest.mark.parametrize("kind", OWN_STREAM)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.2, 0.6, 0.9]))
def test_masked_positions_might_as_well_not_be_there(build, kind, seed, share):
    model = build(kind)
    torch.manual_seed(seed)
    state = model(torch.randint(VOCAB, (2, 3)))[1]
    x, mask = torch.randint(VOCAB, (2, 13)), torch.rand(2, 13) < share
    logits, last = model(x, state, mask=mask)
    assert logits.isfinite().all()
    for row in range(2):
        alone = state.select_batch([row])
        if mask[row].any():
            expected, alone = model(x[row][mask[row]][None], alone)
            torch.testing.assert_close(logits[row][mask[row]], expected[0], rtol=1e-7, atol=1e-9)
        assert_same_state(last.select_batch([row]), alone)


@pytest.mark.parametrize("kind", OWN_STREAM)
def test_left_padding_equals_no_padding(build, kind):
    model = build(kind)
    x = tokens(2, WIDE)
    padded, mask = torch.zeros(2, WIDE + 4, dtype=torch.long), torch.zeros(2, WIDE + 4, dtype=torch.bool)
    padded[0, 4:], padded[1, 1:-3] = x[0], x[1]
    mask[0, 4:], mask[1, 1:-3] = True, True
    logits, last = model(padded, mask=mask)
    expected, expected_last = model(x)
    torch.testing.assert_close(logits[0, 4:], expected[0])
    torch.testing.assert_close(logits[1, 1:-3], expected[1])
    assert_same_state(last, expected_last)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_at_a_masked_position_still_resets(build, kind):
    model = build(kind)
    x = tokens(2, 12)
    reset, mask = torch.zeros(2, 12, dtype=torch.bool), torch.ones(2, 12, dtype=torch.bool)
    reset[:, 6], mask[:, 6] = True, False
    logits, last = model(x, reset=reset, mask=mask)
    expected, expected_last = model(x[:, 7:])
    torch.testing.assert_close(logits[:, 7:], expected)
    assert_same_state(last, expected_last)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 3, 5, 8])
def test_changing_a_symbol_changes_nothing_before_it(build, kind, at):
    model = build(kind)
    x = tokens(1, WIDE)
    changed = x.clone()
    changed[0, at] = (changed[0, at] + 1) % VOCAB
    before, after = model(x)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=0, atol=1e-12)
    assert (before[:, at] - after[:, at]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", LEARNING)
def test_gradients_of_a_prediction_come_from_no_later_symbol(build, kind):
    model = build(kind)
    transposed = kind == "mamba-stack-transposed"
    read = []

    def keep(module, args, output):
        output.retain_grad()
        read.append(output)

    model.embedding.register_forward_hook(keep)
    logits = model(tokens(2, WIDE))[0]
    logits[:, 6].sin().sum().backward()
    gradients = torch.cat([torch.zeros_like(e) if e.grad is None else e.grad for e in read], dim=0 if transposed else 1)
    reach = (gradients.transpose(0, 1) if transposed else gradients).abs().sum((0, 2))
    assert reach[7:].max() == 0
    assert reach[6] > 0
    assert (reach[:6].max() > 0) != transposed


@pytest.mark.parametrize("kind", CARRYING)
def test_the_past_matters(build, kind):
    model = build(kind)
    x = tokens(1, 4)
    changed = x.clone()
    changed[0, 2] = (changed[0, 2] + 1) % VOCAB
    assert (model(x)[0][0, 3] - model(changed)[0][0, 3]).abs().max() > 1e-4


def test_the_transposed_stack_sees_nothing_of_the_past(build):
    model = build("mamba-stack-transposed")
    x = tokens(3, 8)
    changed = x.clone()
    changed[:, :5] = (changed[:, :5] + 1) % VOCAB
    torch.testing.assert_close(model(x)[0][:, 5:], model(changed)[0][:, 5:])  # a past wholly different: no matter
    changed = x.clone()
    changed[0, 5] = (changed[0, 5] + 1) % VOCAB
    difference = (model(x)[0] - model(changed)[0]).abs().amax(-1)
    assert difference[1:, 5].min() > 1e-6  # what another stream reads at this moment: it matters
    assert difference[:, [0, 1, 2, 3, 4, 6, 7]].max() < 1e-12


def test_the_transposed_scan_skips_masked_streams(build):
    model = build("mamba-stack-transposed")
    x, mask = tokens(3, 8), torch.ones(3, 8, dtype=torch.bool)
    mask[1] = False
    torch.testing.assert_close(model(x, mask=mask)[0][[0, 2]], model(x[[0, 2]])[0])


@pytest.mark.parametrize("kind", OWN_STREAM)
def test_streams_do_not_meet(build, kind):
    model = build(kind)
    x = tokens(3, WIDE)
    logits, state = model(x)
    for row in range(3):
        alone, alone_state = model(x[row : row + 1])
        torch.testing.assert_close(logits[row], alone[0])
        assert_same_state(state.select_batch([row]), alone_state)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_given_is_never_changed(build, kind):
    model = build(kind)
    state = model(tokens(2, WIDE))[1]
    kept = state.clone()
    reset, mask = torch.rand(2, 7) < 0.3, torch.rand(2, 7) < 0.5
    for options in ({}, {"reset": reset}, {"mask": mask}, {"reset": reset, "mask": mask}):
        model(tokens(2, 7, seed=3), state, **options)
        model.step(tokens(2, seed=4), state)
        for key in kept:
            assert torch.equal(state[key], kept[key])


@pytest.mark.parametrize("kind", CARRYING)
def test_gradients_reach_every_part_of_the_state(build, kind):
    model = build(kind)
    state = model(tokens(2, 4))[1]  # the window is 5: the cache is full
    leaves = {k: t.detach().requires_grad_() for k, t in state.items() if t.is_floating_point()}
    logits, _ = model(tokens(2, 1, seed=2), State({**state, **leaves}))
    logits.sin().sum().backward()
    for key, leaf in leaves.items():
        assert leaf.grad is not None, key
        assert leaf.grad.abs().sum() > 0, key


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_batch_first_bounded_and_starts_as_declared(build, kind):
    model = build(kind)
    start, after = model.initial_state(3), model(tokens(3, 50))[1]
    assert {k: (t.shape, t.dtype) for k, t in start.items()} == {k: (t.shape, t.dtype) for k, t in after.items()}
    assert all(t.shape[:2] == (3, 1) for t in after.values())
    x = tokens(3, 6, seed=2)
    torch.testing.assert_close(model(x)[0], model(x, start)[0])


@pytest.mark.parametrize("kind", OWN_STREAM)
def test_a_state_survives_a_file_and_a_change_of_rows(build, kind):
    model = build(kind)
    state, x = model(tokens(3, 8))[1], tokens(3, 4, seed=2)
    expected = model(x, state)[0]
    torch.testing.assert_close(model(x, State.from_tensors(state.to_tensors()))[0], expected)
    rows = [2, 0, 2]
    torch.testing.assert_close(model(x[rows], state.select_batch(rows))[0], expected[rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_place", [False, True])
def test_step_is_the_same_path(build, kind, in_place):
    model = build(kind)
    x = tokens(2, WIDE)
    whole, last = model(x)
    state = None
    for t in range(WIDE):
        logits, state = (model.step_ if in_place else model.step)(x[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])
    assert_same_state(state, last)


@pytest.mark.parametrize("kind", KINDS)
def test_input_that_does_not_fit_is_refused(build, kind):
    model = build(kind)
    with pytest.raises(ValueError, match="batch"):
        model(tokens(5))


@pytest.mark.parametrize("kind", OWN_STREAM)
def test_a_state_of_another_batch_is_refused(build, kind):
    model = build(kind)
    with pytest.raises(ValueError, match="2 streams"):
        model(tokens(3, 2), model.initial_state(2))


@pytest.mark.parametrize("kind", LEARNING)
def test_dropout_works_in_training_only(build, kind):
    model = build(kind, dropout=0.5)
    x = tokens(2, 6)
    torch.testing.assert_close(model(x)[0], model(x)[0])
    model.train()
    assert (model(x)[0] - model(x)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_stays_float32_under_autocast(build, kind):
    model = build(kind).float()
    x = tokens(2, 9)
    with torch.autocast("cpu", torch.bfloat16):
        state = model(x)[1]
        logits, state = model(x, state)
    assert {t.dtype for t in state.values()} <= {torch.float32, torch.int64}
    torch.testing.assert_close(logits.float(), model(x, model(x)[1])[0], rtol=0.1, atol=0.1)


def text(vocab, length):
    """Real English: letters and space for 27 symbols, bytes for 256."""
    raw = " ".join(pydoc_data.topics.topics.values())[:20000]
    if vocab == 27:
        raw = "".join(c for c in raw.lower() if c == " " or "a" <= c <= "z")
        return torch.tensor([0 if c == " " else ord(c) - 96 for c in raw[:length]])
    return torch.tensor(list(raw.encode()[:length]))


def first_loss(model, symbols):
    x = symbols.view(2, -1)
    with torch.no_grad():
        logits = model(x[:, :-1])[0]
    return F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten()).item() / math.log(2)


@pytest.mark.parametrize("vocab", [27, 256])
@pytest.mark.parametrize("fields", [{}, {"width": 96, "layers": 3}], ids=str)
@pytest.mark.parametrize("kind", LEARNING)
def test_first_loss_is_that_of_a_guess(kind, fields, vocab):
    torch.manual_seed(0)
    model = build_model(model_config(kind, vocab=vocab, **fields)).eval()
    for symbols in (torch.randint(vocab, (2 * 200,)), text(vocab, 2 * 200)):
        assert abs(first_loss(model, symbols) - math.log2(vocab)) < 0.5


def test_first_loss_of_the_published_embedding_is_tens_of_bits():
    torch.manual_seed(0)
    model = build_model(model_config("mamba-stack", vocab=27, embedding_std=1.0)).eval()
    assert first_loss(model, text(27, 400)) > 20


@pytest.mark.parametrize("kind", LEARNING)
def test_flops_of_the_matrix_products_are_those_that_torch_counts(kind):
    fields: dict[str, Any] = {"width": 64, "layers": 2} | ({"window": 32} if "transformer" in kind else {})
    model = build_model(model_config(kind, vocab=27, **fields)).double()  # in float64 LSTM runs as plain products
    x = tokens(2, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    by_op = counter.get_flop_counts()["Global"]
    # Matrix times weights is mm or addmm; bmm is part of the scan, and attention has a test of its own.
    counted = sum(n for op, n in by_op.items() if str(op) in ("aten.mm", "aten.addmm")) / x.numel()
    ours = {part: n for part, n in model.flops().items() if part not in ("attention", "memory.scan")}
    assert sum(ours.values()) == pytest.approx(counted, rel=0.03), by_op


@pytest.mark.parametrize("kind, share", [("transformer", 1.0), ("transformer-paper", 33 / 64)])
def test_flops_of_attention_are_those_of_the_keys_seen(kind, share):
    """A full window is what torch counts for dense attention over it; in causal blocks a symbol sees half of it."""
    model = build_model(model_config(kind, vocab=27, width=64, layers=3, window=32))
    x = tokens(2, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(x)
    by_op = counter.get_flop_counts()["Global"]
    counted = sum(n for op, n in by_op.items() if str(op) == "aten.bmm") / x.numel()
    assert model.flops()["attention"] == pytest.approx(share * counted, rel=0.02), by_op
