"""A dense model in experts, of which a few are used at each step, and experts made one dense model again.

Two things are split, after arXiv 2310.10908: the feed-forward maps of a Hugging Face decoder, or of another module of
PyTorch, hidden unit by hidden unit; and a graph, neuron by neuron (gate `experts`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import layers_of, refuse_adapters, rows_of_weight
from inn.config.graph import GraphConfig
from inn.config.parts import settled
from inn.config.typed import typed
from inn.nn.graph import Graph
from inn.nn.routing.dendrites import Dendrites
from inn.registry import GATES
from inn.surgery.experts import ExpertMLP, balanced, maps_of
from inn.surgery.plans import chosen
from inn.surgery.reading import graph_of
from inn.surgery.states import alike
from inn.system.errors import InputError


@typed
def split(model: Any, experts: int = 16, use: int = 8, layers: Sequence[int] | None = None, seed: int = 0) -> Any:
    """A model whose feed-forward maps, or neurons, are in `experts` groups of equal size, of which `use` take part.

    Groups are found by k-means on what hidden units, or neurons, read; the mean of that is a group's key. At each step
    the groups are taken whose keys fit best what is read there. There are no new parameters. With `use` = `experts` the
    result is the dense model's bit for bit; with fewer it is another, so train it on for a short while, or score it.

    - A decoder of Hugging Face, or another module with maps down(act(up(x))) or down(act(gate(x)) · up(x)): the hidden
      units of the experts that are not used are not computed. Weights keep their names and are in the experts' order,
      so that what is saved is a dense model, too; `unsplit` before saving gives the old order.
    - An `INN`, a `SignalGraph` or a `Graph`: gate `experts`. A neuron that is not used rests in that round at that
      step, and costs nothing there. What is saved, exported and trained on is such a model.

    Args:
        model: it is left as it is, and so is its mode of training. Weights are copies.
        experts: how many groups; a number that divides the neurons, or the hidden units of a map.
        use: how many of them take part at each step.
        layers: numbers of a decoder's layers, from 0; None: all. A graph is split in all its rounds.
        seed: where k-means starts.

    Raises `InputError` where numbers do not divide, for models with other gates, that are split already or have no
    such maps, and for weights that are no plain numbers.

    >>> dense = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x = torch.randn(5, 4)
    >>> torch.equal(split(dense, experts=4, use=4)(x), dense(x))
    True
    """
    if experts < 1 or not 1 <= use <= experts:
        raise InputError(f"of {experts} experts {use} cannot be used; give use from 1 to experts")
    if isinstance(getattr(model, "config", None), GraphConfig):
        if layers is not None:
            raise InputError("layers are those of a decoder; a graph is split in all its rounds, so leave layers out")
        return _split_graph(model, experts, use, seed)
    new = copy.deepcopy(model)
    refuse_adapters(new)
    if any(isinstance(m, ExpertMLP) for m in new.modules()):
        raise InputError(f"this {type(model).__name__} is split already; inn.unsplit it first")
    found = dict(_maps(new, layers))
    if not found:
        raise InputError(
            f"{type(model).__name__} has no feed-forward maps of two linear layers, or three with a gate, to split; "
            "give a decoder such as Llama or GPT-2, or an INN"
        )
    for name, dense in found.items():
        new = _put(new, name, _experts_of(dense, name, experts, use, seed))
    return new


@typed
def unsplit(model: Any) -> Any:
    """The dense model that `split` was given, weights as they are by now, in their old order: split and unsplit is
    the old model bit for bit.

    Raises `InputError` for a model that is not split, and for one with adapters.
    """
    if isinstance(config := getattr(model, "config", None), GraphConfig):
        if config.gate.kind != "experts":
            raise InputError(f"this {type(model).__name__} is not split: it has no gate 'experts'")
        return _with_gate(model, "none")
    new = copy.deepcopy(model)
    refuse_adapters(new)
    found = [(name, m) for name, m in new.named_modules() if isinstance(m, ExpertMLP)]
    if not found:
        raise InputError(f"this {type(model).__name__} is not split: it has no experts")
    for name, m in found:
        new = _put(new, name, m.dense().train(m.training))
    return new


def _maps(model: Any, layers: Sequence[int] | None) -> Iterator[tuple[str, nn.Module]]:
    """The feed-forward maps of a module by their paths; of a decoder those in these layers."""
    if getattr(model, "config", None) is None:
        if layers is not None:
            raise InputError(f"layers are those of a decoder, and {type(model).__name__} is none; leave layers out")
        places = [("", model)]
    else:
        path, every = layers_of(model)
        numbers = range(len(every)) if layers is None else chosen("layer", layers, len(every))
        places = [(f"{path}.{i}", every[i]) for i in numbers]
    for prefix, place in places:
        for name, m in place.named_modules(prefix=prefix):
            if maps_of(m) is not None:
                yield name, m


def _put(model: Any, name: str, module: nn.Module) -> Any:
    if not name:
        return module
    path, _, last = name.rpartition(".")
    setattr(model.get_submodule(path), last, module)
    return model


def _experts_of(dense: nn.Module, name: str, experts: int, use: int, seed: int) -> ExpertMLP:
    """A feed-forward map in experts, tried on a few numbers: some classes do more than their maps."""
    maps, what = maps_of(dense), f"'{name or type(dense).__name__}'"
    assert maps is not None
    for part in (*maps.lifts, maps.down):
        weight: Any = dense.get_submodule(part).weight
        if type(weight) is not nn.Parameter or not weight.is_floating_point() or weight.is_meta:
            raise InputError(
                f"the weights of {what} are no plain numbers (quantised, parametrised or offloaded); split the model "
                "before that"
            )
    rows = rows_of_weight(dense.get_submodule(maps.key))
    if len(rows) % experts:
        raise InputError(
            f"{what} has {len(rows)} hidden units, which do not make {experts} experts of equal size; choose a number "
            "that divides them"
        )
    training = dense.training
    x = torch.linspace(-1, 1, 3 * rows.shape[1], dtype=rows.dtype, device=rows.device).view(3, -1)
    with torch.no_grad():
        try:
            expected = dense.eval()(x)
        except (TypeError, RuntimeError):
            expected = x.new_full((), torch.nan)  # it takes more than vectors
        made = ExpertMLP(dense, balanced(rows, experts, seed), experts).eval()
        same = expected.shape == (y := made.few(x)).shape
        if not (same and torch.allclose(y, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))):
            raise InputError(f"{what} does more than its maps ({type(dense).__name__}), and is not split")
    made.use = use
    return made.train(training)


def _split_graph(model: Any, experts: int, use: int, seed: int) -> Any:
    c = model.config
    if c.gate.kind != "none":
        raise InputError(f"this model has gate '{c.gate.kind}' already, and a graph has one; neurons are not split")
    if c.neurons % experts:
        raise InputError(
            f"{c.neurons} neurons do not make {experts} experts of equal size; choose a number that divides them"
        )
    reads = [_reads(graph_of(model), r) for r in graph_of(model).rounds]
    new = _with_gate(model, {"kind": "experts", "experts": experts, "use": use})
    for r, read in zip(graph_of(new).rounds, reads):
        of = balanced(read.flatten(1), experts, seed).to(read.device)
        gate: Any = r.gate
        gate.of.copy_(of)
        gate.keys.zero_().index_add_(0, of, read.to(gate.keys)).mul_(experts / c.neurons)
    return new


def _reads(graph: Graph, module: Any) -> Tensor:
    """What each neuron reads in a round, `[N, N, D]`: the mean row of the map by which it takes in the neurons."""
    router, N = module.router, graph.config.neurons
    if isinstance(router, Dendrites) and router.own is None:
        return router.matrices(graph.edges).detach().mean(1)
    maps = [m for name in ("own", "in_proj", "branch") for m in _named(module, name)]
    rows = [m.weight.detach().mean(1) for m in maps]  # [P, D] each
    if not rows or sum(map(len, rows)) != N:
        why = "all read alike, by shared weights" if rows and sum(map(len, rows)) < N else "read through no map"
        raise InputError(f"neurons are put into experts by what they read, and those of this model {why}")
    read = torch.cat(rows)
    return torch.eye(N).to(read)[..., None] * read[:, None]


def _named(module: nn.Module, name: str) -> list[Any]:
    """The maps of this name in a round, one for each group of a population."""
    found = [m for path, m in module.named_modules() if path.split(".")[-1] == name and hasattr(m, "weight")]
    lists = [
        m for path, m in module.named_modules() if path.endswith(f"router.{name}") and isinstance(m, nn.ModuleList)
    ]
    return [*found, *(m for one in lists for m in one)]


@torch.no_grad()
def _with_gate(model: Any, gate: Any) -> Any:
    """A copy with this gate, and every other tensor as it was."""
    like = next(model.parameters())
    with torch.random.fork_rng(devices=[]):
        new = type(model)(replace(model.config, gate=settled("gate", GATES, gate), gate_penalty=0.0))
    new = new.to(like.device, like.dtype)
    own = new.state_dict()
    own.update({name: t for name, t in model.state_dict().items() if ".gate." not in name})
    new.load_state_dict(own)
    return alike(model, new)
