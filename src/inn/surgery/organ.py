"""Organs: neurons or rounds cut out of a model, as a value and as a file of safetensors with a JSON header.

The header says what the file is of: format and version, the donor's configuration, the numbers and ids of the neurons
or the numbers of the rounds, the joint's dimensions, the fingerprint of the rest of the donor, of its vocabulary, where
it comes from, and its licence. Nothing in it is run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inn.config.assemble import drafted, stored_model
from inn.config.graph import GraphConfig
from inn.config.parts import plain
from inn.config.typed import typed
from inn.models.build import build_model, check_size
from inn.models.names import blocks_of, filed
from inn.nn.graph import Graph
from inn.registry import READOUTS
from inn.runs.checkpoint import check_numbers, pack_model
from inn.surgery.decoders import check_decoder, cut_decoder, is_decoder
from inn.surgery.ends import readers_of
from inn.surgery.plans import chosen, more, starts, weighs
from inn.surgery.reading import check_plain, config_of, graph_of
from inn.surgery.rebuild import OF_GROUP, RECALLED
from inn.system.errors import InputError
from inn.system.files import check_regular, replace_file, sha256_of
from inn.system.parse import parse_json
from inn.system.provenance import commit, versions

FORMAT, VERSION = "inn-organ", 1
_ROUNDS = 10_000
Axes = dict[int, tuple[list[int], int]]
"""Of a tensor the axes that are of neurons: which neurons, in their order, and how many numbers for each."""


@dataclass
class Organ:
    """Neurons or rounds of a model, to be put into another by `inn.graft`.

    Attributes:
        about: what the file's header holds.
        tensors: the weights, by their names in the donor; of neurons the part along one of the tensor's axes, `name:0`.
    """

    about: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def what(self) -> str:
        """`neurons` or `rounds`."""
        return self.about["what"]

    @property
    def numbers(self) -> list[int]:
        """The neurons, or the rounds, as the donor numbered them."""
        return self.about["numbers"]

    @property
    def of_decoder(self) -> bool:
        """Whether it is of a Hugging Face decoder: layers, or hidden units of their feed-forward maps."""
        return "decoder" in self.about

    @property
    def config(self) -> Any:
        """The donor's configuration; of a decoder what has to be the same in both."""
        if self.of_decoder:
            return self.about["decoder"]
        tree = self.about["model"]
        return stored_model(tree) if "kind" in tree else GraphConfig(**drafted(GraphConfig, tree, lenient=True).tree)

    def __repr__(self) -> str:
        count = sum(t.numel() for t in self.tensors.values())
        return f"Organ({self.what} {self.numbers}, {count:,} numbers)"

    def save(self, path: str | Path) -> Path:
        """Write the organ as one file, whole or not at all; raises `InputError` where it cannot be written."""
        path = Path(path)
        header = {"format": FORMAT, "version": VERSION, **self.about}
        header["sha256"] = sha256_of(blocks_of(self.tensors))
        content = save({n: t.detach().cpu().contiguous() for n, t in self.tensors.items()}, {"inn": json.dumps(header)})
        replace_file(path, content)
        return path

    @classmethod
    @typed
    def load(cls, path: str | Path) -> Organ:
        """Read an organ's file; no code in it is run, and only kinds that are installed are known.

        Raises `InputError` for a file that is none, is damaged, is newer, or does not hold what its header says.
        """
        path = Path(path)
        check_regular(path)
        try:
            with safe_open(path, "pt") as file:
                text = (file.metadata() or {}).get("inn")
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"cannot read '{path}': it is no organ, or damaged ({error})") from None
        header = None
        if text is not None:
            with suppress(InputError):
                header = parse_json(text.encode(), "it", object)
        if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
            raise InputError(f"'{path}' is no organ: its header does not say so; give a file that `inn cut` wrote")
        version = header.pop("version", None)
        if type(version) is not int or version > VERSION:
            raise InputError(f"'{path}' is of organ version {version!r}, and this library reads {VERSION}; upgrade it")
        if header.pop("sha256", None) != sha256_of(blocks_of(tensors)):
            raise InputError(f"'{path}' is damaged: its weights are not those of its header; copy it again")
        organ = cls(header, tensors)
        _check(organ, path)
        check_numbers(tensors, path)
        return organ


@typed
def cut(
    model: Any,
    neurons: Sequence[int] | None = None,
    rounds: Sequence[int] | None = None,
    licence: str = "",
    layers: Sequence[int] | None = None,
) -> Organ:
    """Neurons or rounds of a model, with all that they read and write there; the model is left as it is.

    Of neurons the organ has their own weights, those of what they hear of each other neuron and it of them, their parts
    of the embedding, of the last norm and of the head, and their ids; of rounds all their weights.

    Args:
        model: an `INN`, a `SignalGraph` or a `Graph`; or a decoder of Hugging Face.
        neurons: numbers from 0; of a decoder those of hidden units of its feed-forward maps.
        rounds: numbers from 0, one after another; of a decoder those of its layers.
        licence: under which the organ may be used, a line for the header.
        layers: in which of a decoder's layers `neurons` are, one after another; None: in all.

    Raises `InputError` for both or neither, numbers that are not there, rounds with others between them or with shared
    weights, and neurons along listed edges.

    >>> from inn import INN
    >>> cut(INN(vocab=5, neurons=3, width=4, rounds=1), neurons=[1]).about["ids"]
    [1]
    """
    if (neurons is None) == (rounds is None):
        raise InputError("cut takes neurons or rounds; give one of neurons=[1, 4] and rounds=[1, 2]")
    if layers is not None and (neurons is None or not is_decoder(model)):
        raise InputError("layers say where neurons of a decoder are; leave layers out, or give neurons of one")
    if is_decoder(model):
        about, tensors = cut_decoder(model, neurons, rounds, layers)
        about |= {"made_with": {**versions(), "commit": commit()}, "licence": licence}
        return Organ(about, {name: t.detach().clone() for name, t in tensors.items()})
    c = check_plain(model)
    what, numbers = ("neurons", neurons) if rounds is None else ("rounds", rounds)
    assert numbers is not None
    numbers = chosen(what[:-1], numbers, getattr(c, what))
    if what == "rounds":
        check_rounds(c, numbers)
        tensors = rounds_of(model, numbers)
    else:
        tensors = neurons_of(model, numbers)
    vocabulary, ids = getattr(model, "vocabulary", None), graph_of(model).ids.tolist()
    about: dict[str, Any] = {
        "what": what, "numbers": numbers, "ids": [ids[n] for n in numbers] if what == "neurons" else [],
        "all_ids": ids, "model": plain(c), "joint": joint(c),
        "base_sha256": fingerprint(model, what, numbers),
        "vocabulary_sha256": None if vocabulary is None else sha256_of([vocabulary.to_json().encode()]),
        "made_with": {**versions(), "commit": commit()}, "licence": licence,
    }  # fmt: skip
    return Organ(about, {name: t.detach().clone() for name, t in tensors.items()})


def joint(config: Any) -> dict[str, Any]:
    """What two models must have in common where they are joined."""
    own = {name: getattr(config, name) for name in ("neurons", "width", "weights", "norm", "update", "residual")}
    memories = [f"{g.memory.kind} x {g.neurons}" for g in config.groups] if config.population else config.memory.kind
    return {**own, "memory": memories, "router": config.router.kind, "inner": config.inner.kind,
            "gate": config.gate.kind}  # fmt: skip


def check_rounds(config: Any, numbers: Sequence[int]) -> None:
    """Raise `InputError` for rounds that are no stretch, or that all have the same weights."""
    if config.share_rounds:
        raise InputError("rounds with share_rounds all have the same weights, and none can be cut out or put in")
    if list(numbers) != list(range(numbers[0], numbers[-1] + 1)):
        raise InputError(f"rounds {list(numbers)} have others between them; cut rounds that follow one another")


def rounds_of(model: Any, numbers: Sequence[int]) -> dict[str, Tensor]:
    """The tensors of these rounds; the first of them is round 0 there."""
    found = {}
    for name, t in graph_of(model).state_dict().items():
        _, _, rest = name.partition("rounds.")
        r, _, rest = rest.partition(".")
        if name.startswith("rounds.") and int(r) in numbers:
            found[f"rounds.{int(r) - numbers[0]}.{rest}"] = t
    return found


def neurons_of(model: Any, numbers: Sequence[int]) -> dict[str, Tensor]:
    """What is of these neurons, along each axis of each tensor."""
    tensors, found = dict(model.state_dict()), {}
    for name, axes in axes_of(model).items():
        for axis, (of, size) in axes.items():
            if any(n in numbers for n in of):
                at = places(of, size, [n for n in numbers if n in of])
                found[f"{filed(name)}:{axis}"] = tensors[name].index_select(axis, at.to(tensors[name].device))
    return found


def places(of: list[int], size: int, numbers: Sequence[int]) -> Tensor:
    """Where an axis has the numbers of these neurons."""
    first = torch.tensor([of.index(n) for n in numbers], dtype=torch.long)
    return (first[:, None] * size + torch.arange(size)).flatten()


def axes_of(model: Any) -> dict[str, Axes]:
    """The axes that are of neurons, of every tensor that has some; raises `InputError` along listed edges."""
    c, graph = config_of(model), graph_of(model)
    if hasattr(c.readout, "parts"):
        raise InputError("neurons read in parts (readout 'parts') are not cut out or grafted; use rounds, or inn.keep")
    if graph.edges is not None and graph.wiring is None and weighs(graph):
        raise InputError(
            f"neurons along listed edges (topology '{c.topology.kind}') are not cut out or grafted; use rounds, or "
            "inn.keep"
        )
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        larger = type(model)(more(model, 1, shapes=True).config).state_dict()
    everyone, ends, found = list(range(c.neurons)), starts(c), {}
    prefix = "" if isinstance(model, Graph) else "backbone."
    for name, t in model.state_dict().items():
        own = name.removeprefix(prefix)
        if not (name.startswith((prefix, *RECALLED)) if prefix else True) or own in ("ids", "sensors"):
            continue
        if own.startswith(("edge_", "readout.")) or name.rpartition(".")[0] in readers_of(model):
            continue
        group = OF_GROUP.fullmatch(name)
        axes: Axes = {}
        for axis, (a, b) in enumerate(zip(t.shape, larger[name].shape, strict=True)):
            if axis == 0 and group is not None and group.group(2) is not None:
                first, end = ends[int(group.group(2)) : int(group.group(2)) + 2]
                if a == end - first and c.weights != "shared":
                    axes[0] = (everyone[first:end], 1)
            elif a != b:
                axes[axis] = (everyone, a // c.neurons)
        if axes:
            found[name] = axes
    return found | _ends(model, prefix)


def _ends(model: Any, prefix: str) -> dict[str, Axes]:
    """The same of the embedding, the last norm and the head; and of the readout's gains."""
    c, names = config_of(model), model.state_dict()
    sensors, read = list(c.sensors), list(c.read)
    found: dict[str, Axes] = {f"{prefix}readout.gain": {0: (read, 1)}, "norm.gain": {0: (read, 1)}}
    if c.input == "split":
        narrow = getattr(c, "embedding_width", None) is not None
        found["widen.weight" if narrow else "embedding.weight"] = {0 if narrow else 1: (sensors, c.width)}
        found |= {name: {0: (sensors, c.width)} for name in ("input.weight", "input.bias")}
    if READOUTS[c.readout.kind].side_by_side:
        found |= {name: {0: (read, c.width)} for name in ("norm.weight", "norm.bias")}
        found["bridge.weight" if "bridge.weight" in names else "head.weight"] = {1: (read, c.width)}
        found |= {f"{name}.weight": {1: (read, c.width)} for name in readers_of(model)}
    if "bridge.weight" in names and "embedding.weight" in found:
        found["bridge.weight"] = {0: (sensors, c.width), **found.get("bridge.weight", {})}
    return {name: axes for name, axes in found.items() if name in names}


def donor_of(organ: Organ) -> Any:
    """A model of the donor's form in which only what the organ holds is right."""
    with torch.random.fork_rng(devices=[]):
        donor = build(organ.config)
    dtype = next(iter(organ.tensors.values())).dtype
    donor = donor.to(dtype if dtype.is_floating_point else torch.float32)
    tensors = donor.state_dict()
    for name, axes in axes_of(donor).items():
        for axis, (of, size) in axes.items():
            if (part := organ.tensors.get(f"{filed(name)}:{axis}")) is not None:
                at = places(of, size, [n for n in organ.numbers if n in of])
                tensors[name].index_copy_(axis, at, part.to(tensors[name].dtype))
    return donor


def build(config: Any) -> Any:
    """A model, or a plain graph, of a configuration."""
    return Graph(config) if type(config) is GraphConfig else build_model(config)


def fingerprint(model: Any, what: str, numbers: Sequence[int]) -> str:
    """The sha256 of all of a model but these neurons or rounds."""
    tensors, _ = pack_model(model)
    if what == "rounds":
        prefix = "rounds." if isinstance(model, Graph) else "graph.rounds."
        inside = tuple(f"{prefix}{r}." for r in numbers)
        return sha256_of(blocks_of({name: t for name, t in tensors.items() if not name.startswith(inside)}))
    for name, axes in axes_of(model).items():
        for axis, (of, size) in axes.items():
            there = [n for n in numbers if n in of]
            if there and (t := tensors.get(filed(name))) is not None:
                tensors[filed(name)] = t.index_fill(axis, places(of, size, there).to(t.device), 0)
    return sha256_of(blocks_of(tensors))


def _check(organ: Organ, path: Path) -> None:
    """Raise `InputError` where an organ's header is not of its weights."""
    about, sentence = organ.about, f"'{path}' is damaged: its header"
    numbers = about.get("numbers")
    known = organ.of_decoder or isinstance(about.get("model"), dict)
    if about.get("what") not in ("neurons", "rounds") or not known:
        raise InputError(f"{sentence} does not say what it is of; copy it again")
    if not isinstance(numbers, list) or not numbers or not all(type(n) is int for n in numbers):
        raise InputError(f"{sentence} names no neurons or rounds; copy it again")
    if organ.of_decoder:
        if why := check_decoder(about, organ.tensors):
            raise InputError(f"{sentence} {why}; copy it again")
        return
    try:
        config = organ.config
        numbers = chosen(organ.what[:-1], numbers, getattr(config, organ.what))
        if type(config) is not GraphConfig:
            check_size(config)
        elif config.rounds > _ROUNDS:
            raise InputError(f"its donor has {config.rounds} rounds, and organs are of up to {_ROUNDS}")
        with torch.device("meta"):
            model = build(config)
            expected = (rounds_of if organ.what == "rounds" else neurons_of)(model, numbers)
    except (InputError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"'{path}' cannot be used: {error}") from None
    ids = about.get("ids")
    if organ.what == "neurons" and not (
        isinstance(ids, list) and len(ids) == len(numbers) and all(type(n) is int for n in ids)
        and isinstance(about.get("all_ids"), list) and len(about["all_ids"]) == config.neurons
    ):  # fmt: skip
        raise InputError(f"{sentence} does not name the ids of its neurons; copy it again")
    for name in expected.keys() ^ organ.tensors.keys():
        raise InputError(f"{sentence} and its weights differ in '{name}'; copy it again")
    for name, t in expected.items():
        if t.shape != organ.tensors[name].shape:
            raise InputError(f"{sentence} and its weights differ in the shape of '{name}'; copy it again")
