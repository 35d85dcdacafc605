"""PyTorch's compiler and exporter see through the models: one graph, no breaks, the same numbers."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

import inn
import inn.ops
from inn.config.assemble import model_config, stored_model
from inn.models.build import build_model

SMALL = {"vocab": 27, "neurons": 3, "width": 16, "rounds": 2, "zero_start": False}
FORMS = [
    {},
    {"preset": "paper", "rounds": 1},
    {"preset": "distinct"},
    {"router": "bus", "gate": "soft", "rounds": 1},
    {"router": "mixing", "gate": "hard", "update": "parallel", "rounds": 1},
    {"router": "static", "update": "message-norm", "share_rounds": True},
]


def build(fields):
    torch.manual_seed(0)
    return inn.INN(stored_model({**SMALL, **fields}))


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()


@pytest.mark.parametrize(
    "fields", [pytest.param(f, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, f in enumerate(FORMS)], ids=str
)
def test_a_training_step_is_one_graph(fields):
    """Dropout on; the second call goes on from a state; `fullgraph` refuses to break."""
    model = build(fields)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    tokens = torch.randint(27, (2, 7))
    results = []
    for run in (model, compiled):
        torch.manual_seed(1)
        model.zero_grad()
        _, state = run(tokens)
        logits, after = run(tokens, state)
        carried = sum(t.square().mean() for t in after.values() if t.is_floating_point())
        (logits.square().mean() + carried).backward()
        results.append([logits, *after.values(), *(p.grad for p in model.parameters())])
    if not any(isinstance(m, nn.Dropout) and m.p for m in model.modules()):  # else other numbers are drawn
        for ours, bar in zip(*results, strict=True):
            torch.testing.assert_close(ours, bar, rtol=1e-4, atol=1e-5)
    assert all(t.isfinite().all() for t in results[1])


@pytest.mark.slow
def test_without_the_kernels_too(monkeypatch):
    from inn.ops.cpu import library

    monkeypatch.setattr(library, "_reason", "not here")
    model = build({"rounds": 1}).eval()
    tokens = torch.randint(27, (2, 3))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(tokens)[0], model(tokens)[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_default_compiler_gives_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = build({"rounds": 1}).eval()
    tokens = torch.randint(27, (2, 7))
    with torch.no_grad():
        bar, state = model(tokens)
        ours, after = torch.compile(model, fullgraph=True)(tokens)
    torch.testing.assert_close(ours, bar, rtol=1e-4, atol=1e-4)
    for key in state:
        torch.testing.assert_close(after[key], state[key], rtol=1e-4, atol=1e-4)


class Step(nn.Module):
    """One step of a model, as what `torch.export` takes: a module with a `forward`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens, state):
        return self.model.step(tokens, state)


@pytest.mark.filterwarnings("ignore:The tensor attribute")
@pytest.mark.parametrize("fields", [*FORMS, "mamba-stack"], ids=str)
def test_a_step_can_be_exported_and_written_to_a_file(fields):
    model = build(fields) if isinstance(fields, dict) else build_model(model_config(fields, vocab=27, width=16))
    model.eval()
    tokens, state = torch.randint(27, (2,)), model.initial_state(2)
    file = io.BytesIO()
    torch.export.save(torch.export.export(Step(model), (tokens, state)), file)
    file.seek(0)
    again = torch.export.load(file).module()
    for _ in range(2):
        bar, after = model.step(tokens, state)
        ours, state = again(tokens, state)
        torch.testing.assert_close(ours, bar, rtol=1e-4, atol=1e-5)
        assert set(state) == set(after)


KINDS = {
    "inn": {"neurons": 2, "width": 8, "rounds": 1},
    "paper": {"neurons": 2, "width": 8, "rounds": 1, "preset": "paper", "heads": 2},
    "mamba-stack": {"width": 8, "layers": 1},
    "lstm": {"width": 8, "layers": 2},
    "transformer": {"width": 8, "heads": 2, "layers": 1, "window": 8},
    "transformer-paper": {"width": 8, "heads": 2, "layers": 1, "window": 8},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", [kind if kind in ("inn", "lstm") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_a_model_is_exported_itself_with_any_batch_and_time(kind):
    """As a stranger does it: no wrapper, dynamic, with recall; run as it is, decomposed, and from a file."""
    torch.manual_seed(0)
    fields = {**KINDS[kind]}
    preset = fields.pop("preset", None)
    model = build_model(model_config("inn" if preset else kind, preset, vocab=27, **fields)).eval()
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("time", min=2, max=512)}
    program = torch.export.export(model, (torch.randint(27, (3, 9)),), dynamic_shapes={"tokens": sizes})
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    for run in (program.module(), program.run_decompositions({}).module(), torch.export.load(file).module()):
        for shape in ((1, 2), (5, 70)):
            tokens = torch.randint(27, shape)
            torch.testing.assert_close(run(tokens)[0], model(tokens)[0], rtol=1e-4, atol=1e-5)
    bar = torch.autograd.grad(model(tokens)[0].square().mean(), list(model.parameters()), allow_unused=True)
    run = program.module()  # whose scan has kept nothing for a backward pass
    run(tokens)[0].square().mean().backward()
    for (name, ours), g in zip(run.named_parameters(), bar, strict=True):
        if g is not None:
            torch.testing.assert_close(ours.grad, g, rtol=1e-3, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


SIGNALS = {
    "signal": {"neurons": 2, "width": 8, "rounds": 1},
    "signal-lstm": {"width": 8, "layers": 1},
    "signal-mamba": {"width": 8, "layers": 1},
    "signal-transformer": {"width": 8, "heads": 2, "layers": 1, "window": 8},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("kind", SIGNALS)
def test_a_model_of_signals_is_exported_and_compiled(kind):
    torch.manual_seed(0)
    model = build_model(model_config(kind, features=3, head="next", pool="mean", **SIGNALS[kind])).eval()
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("time", min=2, max=512)}
    run = torch.export.export(model, (torch.randn(4, 9, 3),), dynamic_shapes={"x": sizes}).module()
    for shape in ((1, 2, 3), (5, 70, 3)):
        x = torch.randn(shape)
        x[0, 1, 2] = torch.nan
        torch.testing.assert_close(run(x)[0], model(x)[0], rtol=1e-4, atol=1e-5)
    if kind != "signal-lstm":  # PyTorch's compiler does not take its LSTM
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x)[0], model(x)[0], rtol=1e-4, atol=1e-5)


def test_a_table_of_n_grams_is_not_exported():
    model = build_model(model_config("ngram", vocab=5)).eval()
    with pytest.raises(inn.InputError, match="cannot be exported"):
        torch.export.export(model, (torch.zeros(1, 4, dtype=torch.long),))


def test_a_compiled_model_is_not_taken_apart_and_one_of_two_is_compiled():
    a, b = (inn.INN(vocab=9, neurons=2, width=8, rounds=1, recall=[]) for _ in range(2))
    b.graph.ids += 2
    both, tokens = inn.merge(a, b).eval(), torch.arange(8)[None]
    compiled = torch.compile(both, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens)[0], both(tokens)[0])
    with pytest.raises(inn.InputError, match="a compiled model is not taken apart"):
        inn.keep(compiled, neurons=[0])
