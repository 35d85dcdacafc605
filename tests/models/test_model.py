"""The INN: oracles of the published model, its first loss, its identical neurons, its ten lines."""

import math

import pytest
import torch
import torch.nn.functional as F

import inn
from inn.analysis import effective_neurons, measure_effective_neurons
from inn.analysis.recording.record import record
from inn.ops import use_backend

PAPER = {"vocab": 27, "neurons": 4, "width": 32, "rounds": 2}


def first_loss(model, vocab, skewed):
    """Bits per symbol of a fresh model on random symbols."""
    torch.manual_seed(1)
    p = torch.arange(1, vocab + 1.0).pow(-1.0) if skewed else torch.ones(vocab)
    tokens = torch.multinomial(p, 2 * 129, replacement=True).view(2, 129)
    with torch.no_grad():
        logits, _ = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item() / math.log(2)


def test_parameter_counts_of_the_published_model():
    assert inn.INN(preset="paper", vocab=27).num_parameters == 4_219_163


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"preset": "paper-fixed"},
        {"preset": "distinct"},
        {"router": "bus"},
        {"tied": False},
        {"readout": "mean"},
        {"preset": "distinct", "zero_start": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("vocab, skewed", [(27, True), (256, False)])
def test_first_loss_is_that_of_a_guess(fields, vocab, skewed):
    torch.manual_seed(0)
    limit = 0.5 if fields.get("preset") else 0.6  # what is recalled adds some
    assert abs(first_loss(inn.INN(vocab=vocab, **fields), vocab, skewed) - math.log2(vocab)) < limit


def test_first_loss_of_the_published_start_is_tens_of_bits():
    torch.manual_seed(0)
    assert first_loss(inn.INN(preset="paper", vocab=27), 27, False) > 20


def test_published_neurons_are_identical_and_attention_is_uniform():
    torch.manual_seed(0)
    model = inn.INN(preset="paper", **PAPER).eval()
    tokens = torch.randint(27, (2, 40))
    with record(model, "routing", "outputs") as tape:
        model(tokens)
    assert (tape.last_outputs - tape.last_outputs[:, :, :1]).abs().max() == 0
    assert (tape.mean("routing") == 1 / 4).all()
    assert effective_neurons(tape.last_outputs) == pytest.approx(1.0)
    with record(model.train(), "outputs") as tape:
        model(tokens)
    assert (tape.last_outputs - tape.last_outputs[:, :, :1]).abs().max() > 0  # attention dropout tells them apart


def test_distinct_neurons_are_distinct():
    torch.manual_seed(0)
    model = inn.INN(**PAPER)
    assert measure_effective_neurons(model, torch.randint(27, (2, 200))) > 3


@pytest.mark.slow
def test_neurons_stay_distinct_in_training_and_identical_ones_stay_identical():
    """Forty steps on a small text: `distinct` neurons say different things, the published ones still say the same."""
    text = "the neurons of a graph each remember, and then they talk to one another. " * 60
    tokens = torch.tensor([ord(c) % 27 for c in text[:4097]])
    batch, targets = tokens[:-1].view(16, 256), tokens[1:].view(16, 256)
    effective = {}
    for preset in ("distinct", "paper-fixed"):
        torch.manual_seed(0)
        model = inn.INN(preset=preset, routing_dropout=0.0, **PAPER)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(40):
            loss = F.cross_entropy(model(batch)[0].flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]
        effective[preset] = measure_effective_neurons(model, batch[:4])
    assert effective["paper-fixed"] == pytest.approx(1, abs=1e-6)
    assert effective["distinct"] > 1.2


def test_changing_a_symbol_changes_nothing_before_it():
    torch.manual_seed(0)
    for preset in inn.config.models.PRESETS:
        model = inn.INN(preset=preset, **PAPER).double().eval()
        tokens = torch.randint(27, (1, 30))
        changed = tokens.clone()
        changed[0, 20] = (changed[0, 20] + 1) % 27
        before, after = model(tokens)[0], model(changed)[0]
        assert torch.equal(before[:, :20], after[:, :20])
        assert (before[:, 20:] - after[:, 20:]).abs().amax(-1).min() > 0


def test_step_is_the_same_path():
    torch.manual_seed(0)
    model = inn.INN(**PAPER).double().eval()
    tokens = torch.randint(27, (2, 12))
    whole, last = model(tokens)
    state = None
    for t in range(12):
        logits, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])
    for key in last:
        torch.testing.assert_close(state[key], last[key])


STEPPED = [
    {},
    {"gate": "hard", "weights": "shared", "recall": [1, 2, 3, 4, 5], "slots": 7},
    {"router": "attention", "recall": []},
    {"router": "attention", "weights": "shared", "update": "message-norm"},
    {"router": "bus", "gate": "soft", "zero_start": False},
    {"router": "mixing", "update": "parallel", "share_rounds": True},
    {"router": "static", "input": "copy", "readout": "attention"},
    {"router": "none", "state": 5, "conv": 2},
]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("fields", STEPPED, ids=str)
def test_steps_in_place_are_the_same_path(fields, kind):
    """Whatever the kernels take; and the state that comes back is the one that went in."""
    torch.manual_seed(0)
    model = inn.INN(**PAPER, **fields).to(kind).eval()
    tokens = torch.randint(27, (3, 9))
    close = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 0.1}[kind]
    with torch.no_grad():
        whole, last = model(tokens)
        state = first = None
        for t in range(9):
            logits, state = model.step_(tokens[:, t], state)
            first = first or state
            torch.testing.assert_close(logits, whole[:, t], rtol=close, atol=close)
    assert state is first
    for key in last:
        torch.testing.assert_close(state[key], last[key], rtol=close, atol=close)


def test_a_tape_sees_steps_in_place():
    torch.manual_seed(0)
    model = inn.INN(**PAPER).eval()
    _, state = model(torch.zeros(1, 1, dtype=torch.long))
    with record(model, "routing") as tape:
        _, after = model.step_(torch.ones(1, dtype=torch.long), state)
    assert tape.symbols == 1
    assert after is not state


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("readout", ["mean", "attention", "concat"])
@pytest.mark.parametrize("source", ["copy", "split"])
def test_the_head_ties_to_either_embedding(source, readout, tied):
    model = inn.INN(**PAPER, input=source, readout=readout, tied=tied)
    logits, _ = model(torch.zeros(1, 3, dtype=torch.long))
    assert logits.shape == (1, 3, 27)
    assert (model.head.weight is model.embedding.weight) == tied
    total = sum(p.numel() for p in model.parameters())
    assert model.num_parameters == total


def test_bfloat16_autocast_keeps_the_recurrent_state_in_float32():
    model = inn.INN(**PAPER)
    with torch.autocast("cpu", torch.bfloat16):
        logits, state = model(torch.randint(27, (2, 20)))
        logits, state = model(torch.randint(27, (2, 20)), state)
        logits.float().square().mean().backward()
    assert logits.dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 for t in state.values() if t.is_floating_point())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_bfloat16_is_close_to_float32():
    torch.manual_seed(0)
    model = inn.INN(**PAPER).eval()
    tokens = torch.randint(27, (2, 50))
    exact = model(tokens)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(tokens)[0]
    assert (exact - rough.float()).abs().max() < 0.05 * exact.abs().max()


def test_flops_count_what_runs():
    from torch.utils.flop_counter import FlopCounterMode

    for fields in (
        {},
        {"router": "bus"},
        {"router": "attention", "recall": []},
        {"weights": "shared"},
        {"inner": "hourglass"},
    ):
        model = inn.INN(**PAPER, **fields)
        with use_backend("torch"), FlopCounterMode(display=False) as counter:
            model(torch.randint(27, (1, 64)))
        ours = 64 * sum(n for part, n in model.flops().items() if part != "memory.scan")
        assert counter.get_total_flops() == pytest.approx(ours, rel=0.1)  # the scan's readout is counted by it too
    assert model.training_flops == 3 * sum(model.flops().values())


def test_bad_input_says_what_to_do():
    with pytest.raises(inn.InputError, match="did you mean 'neurons'"):
        inn.INN(nuerons=4)
    with pytest.raises(inn.InputError, match="unknown preset"):
        inn.INN(preset="papper")
    with pytest.raises(ValueError, match=r"\[batch, time\]"):
        inn.INN(**PAPER)(torch.zeros(3, dtype=torch.long))
