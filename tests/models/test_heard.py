"""Whatever hangs on a module is heard in writing as in reading: `step_` against `forward`, module by module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.nn.direct import going_round, untouched
from inn.nn.modes import device_of
from inn.nn.population import NeuronLinear

LOUD = {"zero_start": False}
MODELS = {
    "inn": ("inn", {"neurons": 2, "rounds": 1}),
    "attention": ("inn", {"neurons": 2, "rounds": 2, "router": "attention", "gate": "soft", "identity": "silent",
                          "router_options": {"heads": 2, "qk_norm": True, **LOUD}, "readout": "attention"}),
    "mixed": ("inn", {"rounds": 1, "router": "bus", "embedding_width": 4, "router_options": LOUD,
                      "population": [{"neurons": 1}, {"neurons": 1, "memory_options": {"state": 4}}]}),
    "communal": ("inn", {"neurons": 3, "rounds": 1, "weights": "communal", "communal_states": 3,
                         "head": "adaptive", "cutoffs": [5, 7], "tied": False}),
    "mamba-stack": ("mamba-stack", {"layers": 2}),
    "lstm": ("lstm", {"layers": 1}),
    "transformer": ("transformer", {"heads": 2, "layers": 1, "window": 8}),
    "transformer-paper": ("transformer-paper", {"heads": 2, "layers": 1, "window": 8, "hidden": 8}),
}  # fmt: skip
X = torch.tensor([[1, 2, 1, 2, 3], [4, 4, 4, 5, 4]])


def build(name: str) -> Any:
    torch.manual_seed(3)
    kind, fields = MODELS[name]
    model = build_model(model_config(kind, vocab=9, width=8, **fields)).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n.rsplit(".", 1)[-1] not in ("A_log", "D") and "dt_proj" not in n:
                p.add_(torch.randn_like(p) * 0.2)
    return model


@torch.no_grad()
def read(model: Any) -> Tensor:
    state, logits = None, []
    for t in range(X.shape[1]):
        out, state = model(X[:, t : t + 1], state)
        logits.append(out)
    return torch.cat(logits, 1)


def write(model: Any) -> Tensor:
    state, logits = None, []
    for t in range(X.shape[1]):
        out, state = model.step_(X[:, t], state)
        logits.append(out)
    return torch.stack(logits, 1)


def changed(value: Any) -> Any:
    """An output, or an input, of which the first tensor of floats is another."""
    if isinstance(value, Tensor):
        return value * 1.5 + 0.1 if value.is_floating_point() else value
    if isinstance(value, tuple) and value:
        return (changed(value[0]), *value[1:])
    return value


class Wrapper(nn.Module):
    """As an adapter stands in a module's place."""

    def __init__(self, module: nn.Module, heard: list):
        super().__init__()
        self.module, self.heard = module, heard

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def forward(self, *args: Any, **options: Any) -> Any:
        self.heard.append(1)
        return changed(self.module(*args, **options))


def wrapped(model: nn.Module, path: str, heard: list) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, Wrapper(model.get_submodule(path), heard))


def replaced_forward(model: nn.Module, path: str, heard: list) -> None:
    """As accelerate does it."""
    module = model.get_submodule(path)
    before = module.forward

    def forward(*args: Any, **options: Any) -> Any:
        heard.append(1)
        return changed(before(*args, **options))

    module.forward = forward  # type: ignore[method-assign]


def subclassed(model: nn.Module, path: str, heard: list) -> None:
    module = model.get_submodule(path)
    cls = type(module)

    def forward(self: nn.Module, *args: Any, **options: Any) -> Any:
        heard.append(1)
        return changed(cls.forward(self, *args, **options))

    module.__class__ = type("Mine", (cls,), {"forward": forward})


def hooked(register: str, **options: Any) -> Callable[[nn.Module, str, list], None]:
    def hook(heard: list, module: nn.Module, *given: Any) -> Any:
        heard.append(1)
        if register == "register_forward_pre_hook":
            return (changed(given[0]), given[1]) if options.get("with_kwargs") else changed(given[0])
        return changed(given[-1])

    return lambda model, path, heard: getattr(model.get_submodule(path), register)(partial(hook, heard), **options)


SORTS: dict[str, Callable[[nn.Module, str, list], Any]] = {
    "forward": hooked("register_forward_hook"),
    "forward-always": hooked("register_forward_hook", always_call=True, with_kwargs=True),
    "pre": hooked("register_forward_pre_hook"),
    "pre-kwargs": hooked("register_forward_pre_hook", with_kwargs=True, prepend=True),
    "forward-replaced": replaced_forward,
    "subclass": subclassed,
    "wrapped": wrapped,
}
CASES = [("inn", s) for s in SORTS] + [("mixed", "wrapped")]
CASES += [(n, "subclass") for n in ("communal", "lstm", "transformer", "transformer-paper")]
CASES += [pytest.param(n, s, marks=pytest.mark.slow) for n in MODELS for s in SORTS if (n, s) not in CASES]


@pytest.mark.parametrize("name, sort", CASES)
def test_what_hangs_on_any_module_is_heard_in_writing(name, sort):
    plain = build(name)
    before, told = read(plain), 0
    torch.testing.assert_close(write(plain), before, atol=2e-5, rtol=1e-4)
    for path, module in plain.named_modules():
        if isinstance(module, nn.ModuleList) or (sort == "wrapped" and not path):
            continue
        model = copy.deepcopy(plain)
        model.step_(X[:, 0])  # nothing hung on it then
        heard: list = []
        SORTS[sort](model, path, heard)
        found, reads = read(model), len(heard)
        heard.clear()
        torch.testing.assert_close(write(model), found, atol=2e-5, rtol=1e-4, msg=f"{path}: writing is not reading")
        assert len(heard) == reads, path
        told += not torch.equal(found, before)
    assert told > 3


class Leaky(inn.Memory):
    """A memory of a user's, with a step of its own."""

    def __init__(self, config):
        super().__init__(config)
        self.shape = (config.neurons, config.width)

    def initial_state(self, batch):
        return {"h": torch.zeros(batch, *self.shape)}

    def forward(self, x, state, *, reset=None, mask=None):
        steps = [state["h"]]
        for t in range(x.shape[1]):
            steps.append(0.5 * steps[-1] + x[:, t])
        return torch.stack(steps[1:], 1), {"h": steps[-1]}

    def flops(self):
        return {}

    def step_(self, x, state):
        state["h"].mul_(0.5).add_(x[:, 0])
        return state["h"][:, None].clone()


class Louder(Leaky):
    def forward(self, x, state, *, reset=None, mask=None):
        y, state = super().forward(x, state)
        return 3 * y, state


@pytest.mark.parametrize("memory", [Leaky, Louder])
def test_a_memory_of_a_users_is_stepped_as_it_reads(memory):
    model = build("inn")
    model.graph.rounds[0].memory = memory(model.graph.config)
    model.graph.rounds[0].router = None
    torch.testing.assert_close(write(model), read(model), atol=2e-5, rtol=1e-4)
    assert untouched(model) == (memory is Leaky)


def test_a_hook_that_is_taken_off_leaves_the_fast_way():
    model = build("inn")
    hook = model.graph.rounds[0].memory.out_proj.register_forward_hook(lambda *_: None)
    assert not untouched(model)
    hook.remove()
    assert untouched(model)
    hook = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert not untouched(model)
    hook.remove()
    assert untouched(model)
    assert untouched(copy.deepcopy(model))
    model.graph._forward_hooks = type(model.graph._forward_hooks)()  # as hooks are often thrown away
    assert untouched(model)
    model.graph.register_forward_hook(lambda *_: None)
    assert not untouched(model)


@pytest.mark.parametrize(
    "name, offload", [*((n, "cpu") for n in MODELS), ("inn", "disk"), ("mixed", "blocks"), ("transformer", "blocks")]
)
def test_offloaded_weights_are_used_where_they_are_brought(name, offload, tmp_path):
    from accelerate import cpu_offload, disk_offload, dispatch_model

    model, cpu = build(name), torch.device("cpu")
    before = read(model)
    if offload == "cpu":
        cpu_offload(model, execution_device=cpu)
    elif offload == "disk":
        disk_offload(model, tmp_path, execution_device=cpu)
    else:
        places: Any = {n: "disk" if i % 2 == 0 else "cpu" for i, (n, _) in enumerate(model.named_children())}
        dispatch_model(model, places, main_device=cpu, offload_dir=tmp_path, force_hooks=True)
    torch.testing.assert_close(read(model), before)
    torch.testing.assert_close(write(model), before)
    assert model.initial_state(1)[next(iter(model.initial_state(1)))].device == cpu
    assert device_of(model) == cpu


@pytest.mark.parametrize("what", ["modules", "parameters"])
@pytest.mark.parametrize("name", ["inn", "communal", "lstm"])
def test_adapters_are_heard(name, what):
    peft = pytest.importorskip("peft")
    model = build(name)
    before = read(model)
    modules = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    weights = [f"{n}.weight" for n, m in model.named_modules() if isinstance(m, NeuronLinear)]
    if what == "parameters" and not weights:
        return
    targets = {"target_modules": modules} if what == "modules" else {"target_modules": [], "target_parameters": weights}
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, init_lora_weights=False, **targets), model.eval())
    found = read(model)
    assert not torch.allclose(found, before)
    torch.testing.assert_close(write(model), found, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["inn", "attention"])
def test_weights_that_are_made_of_others_are_heard(name):
    for change in (
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda m, n: prune.l1_unstructured(m, n, 0.5),
        lambda m, n: parametrize.register_parametrization(m, n, Doubled(), unsafe=True),
    ):
        model = build(name)
        write(model)
        for m in list(model.modules()):
            if isinstance(m, NeuronLinear):
                change(m, "weight")
        change(model.graph.rounds[0].memory, "conv_weight")
        model.eval()
        torch.testing.assert_close(write(model), read(model), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["inn", "mixed"])
def test_an_adapter_is_heard_through_closed_edges_and_by_the_tape(name):
    torch.manual_seed(1)
    mixed = {"population": [{"neurons": 1}, {"neurons": 2, "memory_options": {"expand": 1}}]}
    fields: Any = mixed if name == "mixed" else {"neurons": 3}
    model = inn.INN(vocab=9, width=8, rounds=1, recall=[], **fields).eval()
    router: Any = model.graph.rounds[0].router
    edges = inn.Edges.listed([[0, 1], [1, 2], [2, 0]])
    plain = model(X, edges=edges)[0]
    for path, m in [*model.graph.rounds[0].named_modules()]:
        if path.startswith("router.hear") and isinstance(m, NeuronLinear):
            wrapped(model.graph.rounds[0], path, [])
    with torch.no_grad():
        found, heard = model(X, edges=edges)[0], Wrapper.forward
        Wrapper.forward = lambda self, *args: self.module(*args)  # type: ignore[method-assign]
        torch.testing.assert_close(model(X, edges=edges)[0], plain)
        Wrapper.forward = heard  # type: ignore[method-assign]
    assert not torch.allclose(found, plain)
    with inn.record(model, "activity"):
        torch.testing.assert_close(model(X)[0], model(X)[0])
    with inn.record(model, "routing"), pytest.raises(inn.InputError, match="Wrapper; merge"):
        model(X)
    assert router.flops()


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_weights_of_any_layout_are_heard():
    model = build("inn")
    before, memory = read(model), model.graph.rounds[0].memory
    for t in [p for p in memory.parameters() if p.ndim > 1]:
        kept, t.data = t.data, t.data.transpose(-1, -2).contiguous().transpose(-1, -2)
        torch.testing.assert_close(write(model), before, atol=2e-5, rtol=1e-4)
        t.data = kept.repeat_interleave(2, 0)[::2]
        torch.testing.assert_close(write(model), before, atol=2e-5, rtol=1e-4)


def test_what_is_inside_is_looked_at_once_while_it_is_gone_round():
    model = inn.INN(vocab=7, neurons=2, width=8, rounds=1)
    inner, other = model.graph.rounds[0], inn.INN(vocab=7, neurons=2, width=8, rounds=1).graph.rounds[0]
    assert untouched(model)
    hooks = [m.register_forward_hook(lambda *_: None) for m in (inner, other)]
    with going_round(model):
        assert untouched(inner)  # known from the look at the whole
        assert not untouched(other)
    assert not untouched(inner)
    assert not untouched(model)
    for hook in hooks:
        hook.remove()
    assert untouched(inner)
