"""Whatever hangs on a module is heard in writing as in reading: `step_` against `forward`, module by module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inn.config.assemble import model_config
from inn.models.build import build_model

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
    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def forward(self, *args: Any, **options: Any) -> Any:
        return changed(self.module(*args, **options))


def replaced_forward(module: nn.Module, heard: list) -> None:
    """As accelerate does it."""
    before = module.forward

    def forward(*args: Any, **options: Any) -> Any:
        heard.append(1)
        return changed(before(*args, **options))

    module.forward = forward  # type: ignore[method-assign]


def subclassed(module: nn.Module, heard: list) -> None:
    cls = type(module)

    def forward(self: nn.Module, *args: Any, **options: Any) -> Any:
        heard.append(1)
        return changed(cls.forward(self, *args, **options))

    module.__class__ = type("Mine", (cls,), {"forward": forward})


def hooked(register: str, **options: Any) -> Callable[[nn.Module, list], None]:
    def hook(heard: list, module: nn.Module, *given: Any) -> Any:
        heard.append(1)
        if register == "register_forward_pre_hook":
            return (changed(given[0]), given[1]) if options.get("with_kwargs") else changed(given[0])
        return changed(given[-1]) if register == "register_forward_hook" else None

    return lambda module, heard: getattr(module, register)(partial(hook, heard), **options)


SORTS: dict[str, Callable[[nn.Module, list], Any]] = {
    "forward": hooked("register_forward_hook"),
    "forward-always": hooked("register_forward_hook", always_call=True, with_kwargs=True),
    "pre": hooked("register_forward_pre_hook"),
    "pre-kwargs": hooked("register_forward_pre_hook", with_kwargs=True, prepend=True),
    "forward-replaced": replaced_forward,
    "subclass": subclassed,
}


CASES = [(n, s) for n in MODELS for s in SORTS if n == "inn" or s in ("forward-always", "subclass")]


@pytest.mark.parametrize("name, sort", CASES)
def test_what_hangs_on_any_module_is_heard_in_writing(name, sort):
    plain = build(name)
    torch.testing.assert_close(write(plain), read(plain), atol=2e-5, rtol=1e-4)
    before, told = read(plain), 0
    for path, _ in plain.named_modules():
        model = copy.deepcopy(plain)
        write(model)  # nothing hung on it then
        heard: list = []
        SORTS[sort](model.get_submodule(path), heard)
        found = read(model)
        reads, heard[:] = list(heard), []
        torch.testing.assert_close(write(model), found, atol=2e-5, rtol=1e-4, msg=f"{path}: writing is not reading")
        assert len(heard) == len(reads), path
        told += not torch.equal(found, before)
    assert told > 3
