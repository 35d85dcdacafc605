"""What a network has learned that adds modulo p: two layers of squares, and the same probes on a graph of neurons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inn_studies.lab import Job, Lab
from inn_studies.modular_graph import Found, probed
from inn_studies.quadratic import CUTS, grown, memorised
from inn_studies.rows import markdown, spread
from inn_studies.sizes import Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

CORRUPTED = 0.35
"""Share of the labels that are wrong, where some are."""
CLEAN, NOISY, DECAYED = "right labels", f"{CORRUPTED:.0%} wrong labels", f"{CORRUPTED:.0%} wrong labels, strong decay"
NETS = {
    "smoke": {"modulus": 17, CLEAN: (5, 5.0), NOISY: (5, 0.0), DECAYED: (5, 15.0)},
    "cpu": {"modulus": 97, CLEAN: (200, 5.0), NOISY: (450, 0.0), DECAYED: (250, 15.0)},
}
"""The two-layer networks: p, and for each kind of table the steps and the weight decay."""
_RUN: Fields = {
    "data.corpus": "task:modular", "data.task.form": "table", "train.schedule": "cosine", "train.warmup": 0.05,
    "train.beta2": 0.98, "train.sample_every": 0, "train.log_every": 50, "train.eval_every": 100,
}  # fmt: skip
_GRAPH: Fields = {"kind": "inn", "rounds": 1, "recall": "none", "tied": False}
SIZES = {
    "smoke": Size("study-smoke", {**_RUN, "data.task.modulus": 7, "data.batch": 8, "train.symbols": 160},
                  models={"graph": {**_GRAPH, "neurons": 2, "width": 8}}),
    "cpu": Size("study-smoke",
                {**_RUN, "data.task.modulus": 59, "data.task.train": 0.6, "data.batch": 522, "train.lr": 3e-3,
                 "train.symbols": 400 * 522 * 4, "train.weight_decay": 1.0},
                models={"graph": {**_GRAPH, "neurons": 4, "width": 32}}, seeds=3),
}  # fmt: skip
SIZES["gpu"] = SIZES["cpu"]


def nets(lab: Lab, scale: str, seeds: int, kinds: Sequence[str] = (CLEAN, NOISY, DECAYED)) -> dict[str, list[Found]]:
    """What was found of the two-layer networks, by kind of table, one for each seed."""
    sizes, found = NETS[scale], {}
    for kind in kinds:
        steps, decay = sizes[kind]  # pyright: ignore[reportGeneralTypeIssues]
        case = {"modulus": sizes["modulus"], "steps": steps, "decay": decay}
        more = {} if kind == CLEAN else {"corrupted": CORRUPTED}
        cases = {f"{kind} {seed}": {"seed": seed, **case, **more} for seed in range(seeds)}
        found[kind] = list(lab.compute(grown if kind == CLEAN else memorised, cases).values())
    return found


def graphs(lab: Lab, size: Size, seeds: int, kinds: Sequence[str] = (CLEAN, NOISY)) -> dict[str, list[Found]]:
    """What the probes say of graphs of neurons, by kind of table, one for each seed."""
    model = {f"model.{name}": value for name, value in size.models["graph"].items()}
    found = {}
    for kind in kinds:
        own = {"data.task.corrupted": 0.0 if kind == CLEAN else CORRUPTED}
        jobs = [
            Job(f"modular {own['data.task.corrupted']:g} {seed}", size.recipe,
                {**size.settings, **model, **own, "train.seed": seed, "data.task.seed": seed})
            for seed in range(seeds)
        ]  # fmt: skip
        found[kind] = lab.measure(probed, lab.train(jobs))
    return found


class Grokking(Study):
    name = "grokking"
    source = "arXiv 2310.13061 and 2602.16849"
    question = "What has a network learned that adds modulo p: frequencies, phases, and neurons that memorise?"

    def sizes(self) -> dict[str, Size]:
        return dict(SIZES)

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        smoke = size is SIZES["smoke"]
        net = nets(lab, "smoke" if smoke else "cpu", seeds)
        graph = graphs(lab, size, seeds)
        return {"modulus": {"net": NETS["smoke" if smoke else "cpu"]["modulus"],
                            "graph": size.settings["data.task.modulus"]}, "net": net, "graph": graph}  # fmt: skip

    def table(self, result: dict[str, Any]) -> str:
        p = result["modulus"]
        return (
            f"Two layers of squares, modulo {p['net']}; a graph of neurons, modulo {p['graph']}. Means over seeds ± "
            f"their standard deviation.\n\n{frequencies(result)}\n\n*One frequency*: both inputs and the output have "
            "most of their power at the same one. *Misaligned*: |φ_U + φ_V − φ_W| in radians, π / 2 by chance. Of the "
            "graph, *weights* are its embedding and head, *answers* what its numbers are at the equals sign by a, by b "
            "and by a + b.\n\nCut by the inverse participation ratio (IPR); of the graph each number is set to its "
            f"mean:\n\n{cut(result)}\n\nOf the wrong labels, *as taught* are told as the table has them, *right* as "
            "they should be.\n\nKey frequencies of the graph: the fewest that hold 95 % of the power of its numbers at "
            "the equals sign, as waves of a + b, or of its embedding. Right answers to pairs that were not trained "
            f"on where nothing else is left, or where these are taken away:\n\n{left(result)}\n\n{said(result)}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        axes = figure.subplots()
        kinds = {"two layers": lambda of: of["cuts"], "graph": lambda of: of["cuts"]["answers"]}
        for (label, cuts), key in zip(kinds.items(), ("net", "graph"), strict=True):
            values = [_mean([cuts(of)[what]["test"] for of in result[key][NOISY]]) for what in CUTS]
            axes.plot(range(len(CUTS)), values, "o-", label=f"{label}, test")
            taught = [_mean([cuts(of)[what]["taught"] for of in result[key][NOISY]]) for what in CUTS]
            axes.plot(range(len(CUTS)), taught, "o--", label=f"{label}, wrong labels as taught")
        axes.set_xticks(range(len(CUTS)), CUTS, rotation=20)
        axes.set(ylabel="share", title="what is cut, by IPR")
        figure.legend(loc="outside right upper", fontsize="small")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        return []


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else float("nan")


def rows_of(result: dict[str, Any]) -> dict[str, list[Found]]:
    """What has frequencies and phases, by name: a list of one for each seed."""
    found = {"two layers": result["net"][CLEAN], "two layers, untrained": [
        {"single": of["begun"], "ipr": of["begun ipr"]} for of in result["net"][CLEAN]]}  # fmt: skip
    found["two layers, answers at random phases"] = [{"misaligned": of["turned"]} for of in result["net"][CLEAN]]
    for what in ("weights", "answers"):
        found[f"graph, {what}"] = [
            {**of[what], "test": of["cuts"][what][CUTS[0]]["test"]} for of in result["graph"][CLEAN]
        ]
        found[f"graph, {what}, untrained"] = [of["untrained"][what] for of in result["graph"][CLEAN]]
    return found


def frequencies(result: dict[str, Any], of: str = "") -> str:
    """The table of frequencies and phases, of the rows whose name begins so."""
    heads = ["", "test accuracy:", "of one frequency:", "misaligned:", "frequencies used:", "IPR:"]

    def cell(found: list[Found], name: str) -> str:
        return spread([of[name] for of in found]) if name in found[0] else ""

    rows = []
    for label, found in ((label, found) for label, found in rows_of(result).items() if label.startswith(of)):
        used = f"{_mean([of['used'] for of in found]):.1f} of {found[0]['possible']}" if "used" in found[0] else ""
        cells = [cell(found, name) for name in ("test", "single", "misaligned")]
        rows.append([label, *cells, used, cell(found, "ipr")])
    return markdown(heads, rows)


def cut(result: dict[str, Any], of: str = "") -> str:
    """The table of what is left without some of the neurons, of the rows whose name begins so."""
    known: dict[str, list[Found]] = {f"two layers, {kind}": [of["cuts"] for of in result["net"][kind]]
                                     for kind in (NOISY, DECAYED)}  # fmt: skip
    known[f"graph, {NOISY}, by weights"] = [of["cuts"]["weights"] for of in result["graph"][NOISY]]
    known[f"graph, {NOISY}, by answers"] = [of["cuts"]["answers"] for of in result["graph"][NOISY]]
    rows = [
        [label, what, *(spread([one[what][name] for one in found]) for name in ("taught", "right", "test"))]
        for label, found in known.items()
        if label.startswith(of)
        for what in CUTS
    ]
    return markdown(["", "without", "wrong labels, as taught:", "right:", "test accuracy:"], rows)


def left(result: dict[str, Any]) -> str:
    """The table of what is left of graphs of neurons where only a few frequencies are."""
    rows = []
    for kind in (CLEAN, NOISY):
        for where, name in (("the equals sign", "answers"), ("the embedding", "embedding")):
            found = [of["left"][name] for of in result["graph"][kind]]
            others = spread([of["others"] for of in found]) if "others" in found[0] else ""
            keys = f"{_mean([of['keys'] for of in found]):.1f} of {result['modulus']['graph'] // 2}"
            rows.append([f"{kind}, at {where}", keys, spread([of["only"] for of in found]), others,
                         spread([of["without"] for of in found])])  # fmt: skip
    return markdown(["graph", "key frequencies:", "these alone:", "as many others:", "all but these:"], rows)


def said(result: dict[str, Any]) -> str:
    """How much of what a graph is at the equals sign its sum explains."""
    trained, begun = ([of["adds"] for of in found] for found in (
        result["graph"][CLEAN], [of["untrained"] for of in result["graph"][CLEAN]]))  # fmt: skip
    return (
        f"Of the variance of the graph's numbers at the equals sign a + b explains {_mean(trained):.0%}, "
        f"{_mean(begun):.0%} before training."
    )
