"""Diagrams: the boxes are the model, whatever it is made of, and what they say of shapes and costs is so."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import inn
from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.diagram import diagram
from inn.registry import GATES, INNERS, MEMORIES, MODELS, READOUTS, RECALLS, ROUTERS
from inn.system.errors import InputError

SMALL = {"vocab": 11, "neurons": 4, "width": 8, "rounds": 2, "recall": "none"}
B, T = 2, 3


def built_in(kinds) -> list[str]:
    return [kind for kind in kinds if kinds.origin(kind) == "built in"]


ROOMS = {
    "memory": {kind: {"memory": kind} for kind in built_in(MEMORIES)},
    "router": {kind: {"router": kind} for kind in built_in(ROUTERS)},
    "inner": {kind: {"inner": kind} for kind in built_in(INNERS)},
    "gate": {kind: {"gate": kind, "router": "attention"} for kind in built_in(GATES)},
    "readout": {kind: {"readout": kind, **READOUTS[kind].beside} for kind in built_in(READOUTS)},
    "recall": {kind: {"recall": {"kind": kind}} for kind in built_in(RECALLS)},
    "kind": {kind: {"kind": kind} for kind in built_in(MODELS)},
    "form": {
        "mixed": {"population": [{"neurons": 3}, {"neurons": 1, "memory": "gru"}]},
        "parallel": {"router": "attention", "update": "parallel"},
        "message-norm": {"router": "attention", "update": "message-norm"},
        "lag, dendrites": {"lag": 1, "memory": "gru"},
        "lag, attention": {"lag": 1, "router": "attention", "gate": "soft"},
        "lag, no loop": {"lag": 1, "inner": "hourglass"},
        "gate, dendrites": {"gate": "hard"},
        "residual": {"residual": "input", "router": "mixing"},
        "shared": {"share_rounds": True, "weights": "shared", "identity": "embedding"},
        "copy": {"input": "copy", "readout": "mean", "weights": "shared", "norm": "none"},
        "ring": {"topology": "ring", "router": "attention"},
        "signatures": {"topology": "signatures", "router": "attention"},
        "some read and sense": {
            "topology": {"kind": "complete", "sensors": [0, 2]}, "readout": {"kind": "concat", "read": [1]},
        },
        "untied": {"tied": False, "embedding_width": 5},
        "adaptive": {"head": "adaptive", "cutoffs": [4, 8], "tied": False},
        "split channels": {"kind": "signal", "channels": "split", "features": 4},
        "quantiles": {"kind": "signal", "head": "quantiles", "outputs": 2},
        "next": {"kind": "signal-gru", "head": "next", "features": 2, "outputs": 2},
        "pooled": {"kind": "signal", "pool": "mean"},
    },
}  # fmt: skip


def made(fields: dict) -> inn.SequenceModel:
    kind = fields.get("kind", "inn")
    own = {"inn": SMALL, "signal": {n: SMALL[n] for n in ("neurons", "width", "rounds")}}.get(kind, {})
    own = own or ({"vocab": 11} if hasattr(MODELS.options(kind), "vocab") or "signal" not in kind else {})
    return build_model(model_config(kind, **{**own, **{n: v for n, v in fields.items() if n != "kind"}})).eval()


def run(model: inn.SequenceModel) -> None:
    reset = torch.zeros(B, T, dtype=torch.bool)
    reset[:, 1] = True  # so that steps at which neurons rest are not packed
    with torch.no_grad():
        if hasattr(model.config, "vocab"):
            model(torch.arange(B * T).reshape(B, T) % model.config.vocab, reset=reset)
        else:
            model(torch.randn(B, T, model.config.features), reset=reset)


def fits(found, wire) -> bool:
    """Whether a tensor, or the first one of several, has the wire's shape."""
    found = found[0] if isinstance(found, tuple) else found
    if not isinstance(found, torch.Tensor):
        return True
    expected = (B, found.shape[1], *wire.shape[2:])  # some go step by step, or from reset to reset
    return found.ndim == len(expected) and all(n in (0, m) for n, m in zip(expected, found.shape, strict=True))


@pytest.mark.parametrize("room", ROOMS)
def test_boxes_are_the_model(room):
    for name, fields in ROOMS[room].items():
        model = made(fields)
        drawn = diagram(model)
        assert drawn.flops == pytest.approx(sum(model.flops().values()), rel=1e-12), name
        assert drawn.parameters == model.num_parameters, name
        assert drawn.state == model.initial_state(1).bytes, name
        seen = []
        for box in drawn.boxes:
            into = {axis for _, wire in box.takes for axis in wire.axes}
            assert set(box.gives.axes) == (into | set(box.made)) - set(box.summed) or not box.takes, (name, box)
            assert not {"B", "T"} & set(box.summed), (name, box)
            for path, at in [(path, 0) for path in box.parts[:1]] + [(path, 1) for path in box.parts[-1:]]:
                part = model.get_submodule(path)
                if isinstance(part, torch.nn.ModuleList) or "transposed" in name:
                    continue

                def look(module, given, gives, box=box, path=path, at=at, seen=seen):
                    if given:
                        seen.append((box.name, path, fits((given, gives)[at], (box.takes[0][1], box.gives)[at])))

                part.register_forward_hook(look)
        run(model)
        assert [one for one in seen if not one[2]] == [], name
        assert seen or name in ("ngram", "mamba-stack-transposed", "transformer", "transformer-paper"), name


def test_flops_are_those_of_pytorchs_counter():
    for fields in ({}, {"router": "attention"}, {"kind": "lstm"}, {"kind": "mamba-stack"}, {"kind": "signal"}):
        model = made(fields)
        with FlopCounterMode(display=False) as counter:
            run(model)
        assert counter.get_total_flops() == pytest.approx(B * T * diagram(model).flops, rel=0.01), fields


NODE = re.compile(r' *(b\d+)\["([^"]+)"\]')
ARROW = re.compile(r'  (b\d+) -->\|"([^"]+)"\| (b\d+)')


def test_text_mermaid_and_svg():
    model = made({"recall": {"kind": "counts"}, "gate": "hard"})
    drawn = diagram(model)
    assert all(len(line) <= 80 for line in str(drawn).splitlines())
    assert "B T (N D) = · · 32" in str(drawn)
    lines = drawn.mermaid().splitlines()
    assert lines[0] == "flowchart TD"
    nodes = [NODE.fullmatch(line)[1] for line in lines if NODE.fullmatch(line)]
    arrows = [ARROW.fullmatch(line).groups() for line in lines if ARROW.fullmatch(line)]
    frames = [line for line in lines if re.fullmatch(r'  subgraph \w+\["2 rounds, each"\]|  end', line)]
    assert len(nodes) + len(arrows) + len(frames) + 1 == len(lines)
    assert nodes == [f"b{n}" for n in range(len(drawn.boxes))]
    assert len(frames) == 2
    assert {end for arrow in arrows for end in (arrow[0], arrow[2])} == set(nodes)
    picture = ElementTree.fromstring(drawn.svg())
    boxes = [one for one in picture.iter() if one.get("class") == "box"]
    assert len(boxes) == len(nodes)


def test_of_a_model_only():
    with pytest.raises(InputError, match="not of a Linear"):
        diagram(torch.nn.Linear(2, 2))
