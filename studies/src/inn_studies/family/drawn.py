"""17: diagrams with shapes: the numbers of the boxes against what runs, for every kind that there is."""

from __future__ import annotations

from typing import Any

import torch

from inn.config.assemble import model_config
from inn.models.build import build_model
from inn.models.diagram import diagram
from inn.registry import MEMORIES, MODELS, ROUTERS
from inn_studies.family.entry import Criterion, Entry, row
from inn_studies.lab import Lab

FLOPS, COUNTER, AXES, SHAPES = "FLOPs off, share", "counter off, share", "axes lost", "shapes wrong"
SMALL = {"vocab": 27, "neurons": 6, "width": 8, "rounds": 2, "recall": "none"}
NEAR, B, T = 0.01, 2, 3
SEEN = ("inn", "memory mamba", "router attention", "lstm", "mamba-stack", "signal", "signal-mamba")
"""The models whose every product PyTorch's counter sees."""


def check(kind: str, fields: dict[str, Any]) -> dict[str, float]:
    """What a diagram says of a model against what the model does when it runs (for `Lab.compute`)."""
    from torch.utils.flop_counter import FlopCounterMode

    model: Any = build_model(model_config(kind, **fields)).eval()
    drawn, wrong, lost = diagram(model), [0], 0
    for box in drawn.boxes:
        into = {axis for _, wire in box.takes for axis in wire.axes}
        lost += bool(box.takes) and set(box.gives.axes) != (into | set(box.made)) - set(box.summed)
        lost += bool({"B", "T"} & set(box.summed))
        for path in box.parts[-1:]:

            def look(_: Any, given: Any, gives: Any, wire: Any = box.gives) -> None:
                gives = gives[0] if isinstance(gives, tuple) else gives
                wrong[0] += isinstance(gives, torch.Tensor) and tuple(gives.shape[2:]) != wire.shape[2:]

            model.get_submodule(path).register_forward_hook(look)
    symbols = hasattr(model.config, "vocab")
    given = torch.zeros(B, T, dtype=torch.long) if symbols else torch.randn(B, T, model.config.features)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(given)
    own = sum(model.flops().values())
    return {
        "flops": abs(drawn.flops - own) / max(own, 1),
        "counter": abs(counter.get_total_flops() / (B * T) - drawn.flops) / max(drawn.flops, 1),
        "lost": lost,
        "wrong": wrong[0],
    }


class Drawn(Entry):
    """Diagrams of all kinds of models, memories and routers."""

    number = 17
    title = "A diagram with shapes"
    source = "*Neural Circuit Diagrams*, [arXiv 2402.05424](https://arxiv.org/abs/2402.05424)"
    claim = "architectures drawn as wires for axes and boxes for maps say exactly what runs."
    home = "`inn.diagram`, `inn info RUN --diagram`"
    control = "the models themselves as they run, and PyTorch's own counter"
    score = "FLOPs of the boxes against `flops()` and PyTorch's counter, axes and shapes against what runs"

    def sizes(self) -> dict[str, Any]:
        sizes = super().sizes()
        return {**sizes, "cpu": type(sizes["cpu"])("cpu", 1, 1)}

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        cases: dict[str, dict[str, Any]] = {"inn": {"kind": "inn", "fields": SMALL}}
        for what, kinds in (("memory", MEMORIES), ("router", ROUTERS)):
            for kind in size.of(list(kinds)[:1], list(kinds)):
                cases[f"{what} {kind}"] = {"kind": "inn", "fields": {**SMALL, what: kind, "width": 8}}
        for kind in size.of(["lstm"], [k for k in MODELS if k != "inn"]):
            fields = {} if kind.startswith("signal") else {"vocab": 27}
            cases[kind] = {"kind": kind, "fields": fields}
        rows = []
        for label, one in lab.compute(check, cases).items():
            found = {FLOPS: [one["flops"]], AXES: [float(one["lost"])], SHAPES: [float(one["wrong"])]}
            rows.append(row(label, {**found, **({COUNTER: [one["counter"]]} if label in SEEN else {})}))
        return {"rows": rows}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        def most(test: str) -> float:
            return max(r["scores"][test][0] for r in result["rows"] if test in r["scores"])

        count = f"{len(result['rows'])} models"
        return [
            Criterion.of("FLOPs", "`flops()` exactly", f"off by {most(FLOPS):g}, {count}", most(FLOPS) == 0),
            Criterion.of(
                "PyTorch's counter", "to 1 % where it sees every operation", f"off by {most(COUNTER):.2%} at most",
                most(COUNTER) <= NEAR,
            ),
            Criterion.of("axes", "each leaves a box or ends in it", f"{most(AXES):g} lost", most(AXES) == 0),
            Criterion.of("shapes", "those of what runs", f"{most(SHAPES):g} wrong", most(SHAPES) == 0),
        ]  # fmt: skip
