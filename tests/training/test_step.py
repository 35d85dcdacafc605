from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from inn.config.assemble import model_config
from inn.config.run import TrainConfig
from inn.data.examples import IGNORED
from inn.models.build import build_model
from inn.training.optim import build_optimizer
from inn.training.parallel.single import SingleDevice
from inn.training.step import Stepper, trim

FIELDS = {
    "inn": {"neurons": 2, "width": 8, "rounds": 2, "slots": 64, "gate": "soft", "gate_penalty": 0.1},
    "lstm": {"width": 8},
    "transformer": {"width": 8, "layers": 1, "heads": 2, "window": 8},
}


def make(kind: str, carry: bool = True, **settings):
    torch.manual_seed(0)
    model = build_model(model_config(kind, vocab=11, **FIELDS[kind]))
    config = TrainConfig(**{"clip": 0.0, **settings})
    return model, Stepper(SingleDevice(model), build_optimizer(model, config), config, carry)


def batch(seed: int, rows: int = 5, window: int = 12):
    tokens = torch.randint(11, (rows, window + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("accumulate", [2, 5])
def test_accumulation_changes_nothing_but_rounding(kind, accumulate):
    results = []
    for n in (1, accumulate):
        model, step = make(kind, accumulate=n)
        state, losses = None, []
        for i in range(3):
            reset = torch.tensor([False, True, False, False, True]) if i == 1 else None
            inputs, targets = trim(*batch(i), 43) if i == 2 else batch(i)
            result = step(inputs, targets, reset, state, 1e-2, i + 1)
            state = result.state
            losses.append((result.loss, result.penalty, result.grad_norm))
        results.append((losses, [p.detach().clone() for p in model.parameters()], state))
    (losses, weights, state), (losses2, weights2, state2) = results
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(losses2), rtol=1e-5, atol=1e-6)
    for a, b in zip(weights, weights2):
        # Three AdamW steps of 1e-2 divide by the gradient's size, which amplifies rounding where it is tiny.
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    for key in state:
        torch.testing.assert_close(state[key], state2[key], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_gradients_equal_those_of_the_whole_batch(accumulate):
    gradients = []
    for n in (1, accumulate):
        model, step = make("inn", accumulate=n)
        step(*batch(0), None, None, 0.0, 1)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_over_targets_and_the_penalty_stands_beside_it():
    model, step = make("inn")
    inputs, targets = batch(0)
    with torch.no_grad():
        logits, state = model(inputs)
        expected, penalty = (
            F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item(),
            float(state.penalties["gate"]),
        )
    result = step(inputs, targets, None, None, 1e-3, 1)
    assert result.loss == pytest.approx(expected, rel=1e-5)
    assert penalty > 0
    assert result.penalty == pytest.approx(penalty, rel=1e-5)


def test_the_state_is_carried_and_cut_from_the_graph_and_rows_restart_where_told():
    model, step = make("lstm")
    first = step(*batch(0), None, None, 0.0, 1).state
    assert first is not None
    assert not any(t.requires_grad for t in first.values())
    with torch.no_grad():
        _, both = model(torch.cat((batch(0)[0], batch(1)[0]), dim=1))
        _, fresh = model(batch(1)[0])
    reset = torch.tensor([False, True, False, False, False])
    second = step(*batch(1), reset, first, 0.0, 2).state
    assert second is not None
    for key in second:
        torch.testing.assert_close(second[key][[0, 2, 3, 4]], both[key][[0, 2, 3, 4]])
        torch.testing.assert_close(second[key][1], fresh[key][1])


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_state_lies_in_memory_as_a_checkpoint_would_give_it_back(kind, accumulate):
    _, step = make(kind, accumulate=accumulate)
    state = step(*batch(0), None, None, 0.0, 1).state
    assert state is not None
    for t in state.values():
        assert t.stride() == torch.empty(t.shape).stride()
        assert t.untyped_storage().nbytes() == t.numel() * t.element_size()  # no view that keeps a window alive


def test_random_windows_carry_nothing():
    _, step = make("lstm", carry=False)
    assert step(*batch(0), torch.ones(5, dtype=torch.bool), None, 1e-3, 1).state is None


def test_clipping_bounds_the_step_and_the_norm_logged_is_the_one_before():
    model, step = make("lstm", clip=0.01)
    result = step(*batch(0), None, None, 1e-3, 1)
    assert result.grad_norm > 0.01
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_bfloat16_runs_under_autocast_and_keeps_weights_and_state_in_float32():
    model, step = make("inn", dtype="bfloat16")
    dtypes = set()
    model.get_submodule("head").register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
    result = step(*batch(0), None, None, 1e-3, 1)
    assert math.isfinite(result.loss)
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert result.state is not None
    assert {t.dtype for t in result.state.values() if t.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("symbols", range(1, 21))
def test_trim_leaves_exactly_so_many_targets_each_with_its_context(symbols):
    tokens = torch.arange(20).view(4, 5)
    inputs, targets = trim(tokens, tokens + 1, symbols)
    kept = targets != IGNORED
    assert int(kept.sum()) == symbols
    assert torch.equal(targets[kept], inputs[kept] + 1)
    assert kept[:, :-1].all()  # what is left out is at the end
