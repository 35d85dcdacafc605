"""Whole models under the transforms of `torch.func`, on tensors without numbers, in other types, and counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.flop_counter import FlopCounterMode

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.nn.population import project

SMALL = {"neurons": 3, "width": 6, "rounds": 2, "state": 2}
FORMS = {
    "inn": SMALL,
    "paper": {**SMALL, "preset": "paper", "heads": 2},
    "ring": {**SMALL, "topology": "ring", "router": "attention", "heads": 2},
    "bus": {**SMALL, "router": "bus", "gate": "soft"},
    "static": {**SMALL, "router": "static", "recall": []},
    "mixing": {**SMALL, "router": "mixing", "gate": "hard", "update": "parallel"},
    "mixed": {**SMALL, "population": [{"neurons": 2}, {"neurons": 1, "memory_options": {"state": 3}}]},
    "kan": {**SMALL, "inner": "kan"},
    "separable": {**SMALL, "inner": "separable"},
    "mamba-stack": {"kind": "mamba-stack", "width": 6, "layers": 2},
    "mamba-stack-transposed": {"kind": "mamba-stack-transposed", "width": 6, "layers": 2},
    "gru": {"neurons": 3, "width": 6, "rounds": 2, "memory": "gru"},
    "lif": {"neurons": 3, "width": 6, "rounds": 2, "memory": "lif"},
    "signatures": {**SMALL, "topology": "signatures"},
    "lstm": {"kind": "lstm", "width": 8, "layers": 2},
    "transformer": {"kind": "transformer", "width": 8, "heads": 2, "layers": 2, "window": 8},
    "transformer-paper": {"kind": "transformer-paper", "width": 8, "heads": 2, "layers": 1, "window": 8},
}
COUNTED = ["inn", "paper", "ring", "bus", "mixing", "mamba-stack", "mamba-stack-transposed", "lstm", "transformer"]


def build(form):
    torch.manual_seed(0)
    fields = dict(FORMS[form])
    return build_model(model_config(fields.pop("kind", "inn"), fields.pop("preset", None), vocab=7, **fields)).eval()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("form", FORMS)
def test_per_sample_gradients_and_forward_mode(form):
    model, tokens = build(form), torch.randint(7, (3, 6), generator=torch.Generator().manual_seed(1))
    reset = torch.zeros(3, 6, dtype=torch.bool)
    reset[1, 3] = True
    p = {name: t.detach() for name, t in model.named_parameters()}

    def loss(p, tokens, reset):
        return functional_call(model, p, (tokens[None],), {"reset": reset[None]})[0].square().mean()

    each = vmap(grad(loss), (None, 0, 0))(p, tokens, reset)
    v = {name: torch.randn_like(t) for name, t in p.items()}
    for i in range(3):
        leaves = {name: t.clone().requires_grad_() for name, t in p.items()}
        loss(leaves, tokens[i], reset[i]).backward()
        found = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
        for name, t in found.items():
            torch.testing.assert_close(each[name][i], t, rtol=1e-3, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
    along = jvp(lambda p: loss(p, tokens[2], reset[2]), (p,), (v,))[1]
    torch.testing.assert_close(along, sum((found[name] * v[name]).sum() for name in p), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, form in enumerate(FORMS)]
)
def test_without_numbers(form):
    """On `meta` and under `FakeTensorMode`: built, run over a stretch, run on, stepped."""
    for mode in (torch.device("meta"), FakeTensorMode()):
        with mode:
            model, tokens = build(form), torch.zeros(2, 5, dtype=torch.long)
            flag = torch.zeros(2, 5, dtype=torch.bool)
            logits, state = model(tokens, reset=flag, mask=~flag)
            after, _ = model(tokens, state)
            assert logits.shape == after.shape == (2, 5, 7)
            assert model.step_(tokens[:, 0])[0].shape == (2, 7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_any_default_type(form, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = build(form)
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert model(torch.zeros(2, 5, dtype=torch.long))[0].isfinite().all()
        steps = [m.dt_proj.bias for m in model.modules() if hasattr(m, "dt_proj")]
    finally:
        torch.set_default_dtype(before)
    for bias in steps:  # steps of 0.001 to 0.1, rounded once
        assert 0.95e-3 < nn.functional.softplus(bias.float()).min() < nn.functional.softplus(bias.float()).max() < 0.105


@pytest.mark.parametrize("form", COUNTED)
def test_flops_are_counted_as_the_model_counts_them(form):
    model, steps = build(form).train(), 8
    with FlopCounterMode(display=False) as forward:
        logits, _ = model(torch.zeros(2, steps, dtype=torch.long))
    whole = sum(n for part, n in model.flops().items() if part != "gate")  # a product by elements, which is not counted
    assert forward.get_total_flops() == 2 * steps * whole
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    gains = 2.0 * model.recall.gain[:, :, 0].numel() if getattr(model, "recall", None) is not None else 0.0
    assert backward.get_total_flops() == 2 * 2 * steps * (whole - gains)  # no product's
    if form != "transformer":  # which in its first steps sees less than a window
        with FlopCounterMode(display=False) as step:
            model.eval().step_(torch.zeros(2, dtype=torch.long))
        assert step.get_total_flops() == 2 * whole


class Quantised(torch.Tensor):
    """Weights that know `linear` and nothing else, as those of torchao do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is nn.functional.linear:
            x, weight, bias = (*args, None)[:3]
            with torch._C.DisableTorchFunctionSubclass():
                return nn.functional.linear(x, weight.as_subclass(torch.Tensor), bias)
        raise NotImplementedError(f"Quantised has no {func}")


def test_quantised_weights_go_through_linear():
    x, weight = torch.randn(2, 3, 4), torch.randn(5, 4)
    torch.testing.assert_close(project(x, weight.as_subclass(Quantised)), x @ weight.T)


@pytest.mark.slow
def test_a_compiled_step_changes_its_state_and_breaks_nothing():
    torch.compiler.reset()
    model = inn.INN(vocab=7, neurons=2, width=4, rounds=1).eval()
    compiled = torch.compile(model.step_, backend="aot_eager", fullgraph=True)
    ours, bar = model.initial_state(2), model.initial_state(2)
    for symbol in (3, 5, 3, 5, 3):
        a, ours = compiled(torch.tensor([symbol, 1]), ours)
        b, bar = model.step_(torch.tensor([symbol, 1]), bar)
        torch.testing.assert_close(a, b)
    for key in bar:
        torch.testing.assert_close(ours[key], bar[key])
    nn.Linear(3, 3)(torch.randn(2, 3))
