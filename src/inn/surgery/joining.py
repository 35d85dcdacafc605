"""The tensors of models that are merged: graphs block by block, and their two ends side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inn.models.build import outlines
from inn.models.inn import INN
from inn.models.names import filed
from inn.nn.graph import Graph
from inn.nn.population import CommunalLinear, Linear
from inn.nn.symbols import AdaptiveHead
from inn.surgery.ends import STANDARDS
from inn.surgery.reading import Places, config_of, graph_of, read_parts
from inn.surgery.rebuild import carry, carry_edges, edge_weights, sources
from inn.surgery.states import alike, beside
from inn.surgery.whole import biases, last_map


@torch.no_grad()
def separated(model: Any) -> Any:
    """The same model, each neuron of which has weights of its own."""
    c = config_of(model)
    if c.weights == "separate":
        return model
    like = next(model.parameters())
    with torch.random.fork_rng(devices=[]):
        new = type(model)(replace(c, weights="separate", communal_states=type(c).communal_states))
    new = new.to(like.device, like.dtype)
    known = dict(model.state_dict())
    for name, m in model.named_modules():
        if isinstance(m, CommunalLinear):
            known |= {f"{name}.weight": m.weight} | ({} if m.bias is None else {f"{name}.bias": m.bias})
    for name, t in new.state_dict().items():
        t.copy_(known[name].expand_as(t))
    return alike(model, new)


def common(models: Sequence[Any], config: Any) -> str | None:
    """The first tensor of the graph that is of no neuron and not the same in all models; None where there is none."""
    with outlines(config):
        new = type(models[0])(config)
    states, every = [m.state_dict() for m in models], _places(models)
    for name, t in _of_graph(new):
        found = [
            known[there] for m, known, places in zip(models, states, every)
            for there, _, _ in sources(name, known, m, new, places) if there in known
        ]  # fmt: skip
        if all(one.shape == t.shape for one in found) and any(not torch.equal(one, found[0]) for one in found[1:]):
            return filed(name)
    return None


def _places(models: Sequence[Any]) -> list[Places]:
    """For each model which of its neurons each of all neurons is."""
    sizes = [config_of(m).neurons for m in models]
    return [[None] * sum(sizes[:p]) + [*range(n)] + [None] * sum(sizes[p + 1 :]) for p, n in enumerate(sizes)]


def _of_graph(new: Any) -> list[tuple[str, Tensor]]:
    """The tensors that are joined block by block: those of the rounds, gates and identities."""
    prefix = "" if isinstance(new, Graph) else "backbone."
    edges = {id(p) for r in graph_of(new).rounds for p, _ in edge_weights(r)}
    skipped = {name for name, p in new.named_parameters() if id(p) in edges} | {f"{prefix}identity_gain"}
    inside = (f"{prefix}{part}" for part in ("rounds.", "gate.", "identity"))
    inside = tuple(inside)
    return [(n, t) for n, t in new.state_dict().items() if n.startswith(inside) and n not in skipped]


def joined(models: Sequence[Any], parts: Sequence[Any], config: Any, ids: list[int], whole: bool) -> Any:
    """The new model of models, `parts` being the same with such weights as it has itself."""
    like = next(parts[0].parameters())
    new = type(parts[0])(config).to(like.device, like.dtype)
    graph, tensors = graph_of(new), _of_graph(new)
    for m, places in zip(parts, _places(parts)):
        known = m.state_dict()
        for name, t in tensors:
            carry(known, name, t, m, new, places)
        carry_edges(graph_of(m), graph, places)
    if graph.identity is not None and graph.identity_gain is not None:
        graph.identity_gain.fill_(1.0)
        graph.identity.copy_(torch.cat([_identity(m) for m in parts]))
    graph.ids.copy_(torch.tensor(ids))
    _join_readouts(models, new, whole)
    if not isinstance(new, Graph):
        _join_ways_in(models, new)
        if getattr(new, "recall", None) is not None:
            new.recall.take_([(m.recall, m.config.neurons) for m in models])
        new.vocabulary = next((m.vocabulary for m in models if m.vocabulary is not None), None)
        if any(m.experience is not None for m in models):
            new.experience = beside([m.experience for m in models], models, new)
    return new.train(models[0].training)


def _identity(model: Any) -> Tensor:
    graph: Any = graph_of(model)
    return graph.identity * graph.identity_gain


def _join_readouts(models: Sequence[Any], new: Any, whole: bool) -> None:
    """Readouts and norms, and the map behind them: a part each, or one of all that are read."""
    old, now = [p for m in models for p in read_parts(m)], read_parts(new)
    if not whole:
        for was, part in zip(old, now, strict=True):
            for before, after in ((was.readout, part.readout), (was.norm, part.norm)):
                for name, p in {} if after is None else dict(after.named_parameters()).items():  # type: ignore[union-attr]
                    p.copy_(before.get_parameter(name))
    else:
        own = now[0]
        for name, p in own.readout.named_parameters():
            if name != "gain":
                p.copy_(old[0].readout.get_parameter(name))
        for name, p in {} if own.norm is None else dict(own.norm.named_parameters()).items():  # type: ignore[union-attr]
            if name != "gain":
                every = [getattr(was.norm, name) for was in old]
                p.copy_(torch.cat(every) if own.side_by_side else every[0])
        if own.gain is not None:
            own.gain.copy_(torch.cat([was.counts() for was in old]))
    if isinstance(new, Graph):
        return
    if isinstance(new.head, AdaptiveHead):
        new.head.load_state_dict(models[0].head.state_dict())
        return
    new.head.bias.copy_(
        torch.cat([m.head.bias.reshape(-1, m.head.out_features) for m in models]) if not whole
        else biases(models, old)[0] if now[0].side_by_side else models[0].head.bias
    )  # fmt: skip
    if isinstance(getattr(new, "bridge", None), Linear):
        new.bridge.weight.copy_(_bridge(models, new, whole))
    elif not getattr(new.config, "tied", False):
        new.head.weight.copy_(_map(models, whole))


def _map(models: Sequence[Any], whole: bool) -> Tensor:
    """The map behind the new norm, `[O, F]`."""
    if not whole:
        return torch.cat([last_map(m) for m in models], 1)
    if not read_parts(models[0])[0].side_by_side:
        return last_map(models[0])
    return torch.cat([last_map(m)[:, : m.config.readout_width] for m in models], 1)


def _bridge(models: Sequence[Any], new: Any, whole: bool) -> Tensor:
    """What leads to the new embedding's width, `[E, F]`: of embeddings side by side a block for each."""
    own = [
        m.bridge.weight if isinstance(m.bridge, Linear) else torch.eye(m.head.in_features).to(m.head.weight)
        for m in models
    ]
    side = read_parts(models[0])[0].side_by_side
    if whole:
        own = [b[:, : m.config.readout_width] for b, m in zip(own, models)] if side else own[:1]
    return torch.block_diag(*own) if new.embedding.weight.shape[1] != own[0].shape[0] else torch.cat(own, 1)


def way_in(models: Sequence[Any], config: Any, whole: bool) -> Any:
    """The configuration with the new model's way in, and whether its head can be tied to it."""
    configs = [m.config for m in models]
    if not isinstance(models[0], INN):
        same = all(torch.equal(m.input.weight, models[0].input.weight) for m in models)
        same = same and all(torch.equal(m.input.bias, models[0].input.bias) for m in models)
        return replace(config, input="copy" if same and {c.input for c in configs} == {"copy"} else "split")
    fields = _embedded(models)
    known = [m.recall for m in models if m.recall is not None]
    if known:
        fields["recall"] = known[0].beside(config.recall, known)
    config = replace(config, **fields)
    if config.head == "adaptive":
        return config
    if config.embedding_width is None and config.normed_width == config.input_width:
        now = _embedding(models, config)
        told = _map(models, whole)
        return replace(config, tied=now.shape == told.shape and torch.equal(now, told))
    mixed = (
        whole
        and not read_parts(models[0])[0].side_by_side
        and _embedding(models, config).shape[1] != models[0].head.in_features
    )
    return replace(config, tied=all(c.tied for c in configs) and not mixed)


def _embedded(models: Sequence[Any]) -> dict[str, Any]:
    """How symbols enter: as they did where all embeddings are one; else side by side, over a map where any had one."""
    ways, widths = {m.config.input for m in models}, {m.config.embedding_width is not None for m in models}
    one = all(torch.equal(m.embedding.weight, models[0].embedding.weight) for m in models)
    narrow = models[0].config.embedding_width
    first = getattr(models[0].widen, "weight", None)
    maps = one and len(widths) == 1 and (first is None or all(torch.equal(m.widen.weight, first) for m in models))
    if maps and ways == {"copy"}:
        return {"input": "copy", "embedding_width": narrow}
    if one and ways == {"split"} and widths == {True}:
        return {"input": "split", "embedding_width": narrow}
    if ways == {"split"} and widths == {False}:
        return {"input": "split", "embedding_width": None}
    return {"input": "split", "embedding_width": sum(m.embedding.embedding_dim for m in models)}


def _embedding(models: Sequence[Any], config: Any) -> Tensor:
    first = models[0].embedding.weight
    width = config.embedding_width or config.input_width
    return first if first.shape[1] == width else torch.cat([m.embedding.weight for m in models], 1)


def _join_ways_in(models: Sequence[Any], new: Any) -> None:
    split = new.config.input == "split"
    if not isinstance(new, INN):
        for name in STANDARDS:
            getattr(new, name).copy_(getattr(models[0], name))
        for name in ("weight", "bias"):
            getattr(new.input, name).copy_(
                torch.cat([_rows(m, getattr(m.input, name)) for m in models]) if split
                else getattr(models[0].input, name)
            )  # fmt: skip
        return
    new.embedding.weight.copy_(_embedding(models, new.config))
    if not isinstance(new.widen, Linear):
        return
    maps = []
    for m in models if split else models[:1]:
        eye = torch.eye(m.embedding.embedding_dim).to(m.embedding.weight)
        own = m.widen.weight if isinstance(m.widen, Linear) else eye
        maps.append(_rows(m, own) if split else own)
    kept = new.widen.in_features == models[0].embedding.embedding_dim
    new.widen.weight.copy_(torch.cat(maps) if kept else torch.block_diag(*maps))


def _rows(model: Any, t: Tensor) -> Tensor:
    """What is of the sensors, one after another: the same for each where they all take in the same."""
    return t if model.config.input == "split" else torch.cat([t] * len(model.config.sensors))
