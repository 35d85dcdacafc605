"""What a network has learned that adds modulo p: two layers of squares, and the same probes on a graph of neurons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inn_studies.lab import Job, Lab
from inn_studies.quadratic import grown, memorised, table
from inn_studies.rows import markdown, spread
from inn_studies.sizes import Fields, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

CORRUPTED = 0.35
"""Share of the labels that are wrong, where some are."""
CLEAN, NOISY, DECAYED = "right labels", f"{CORRUPTED:.0%} wrong labels", f"{CORRUPTED:.0%} wrong labels, strong decay"
CUTS = ("nothing", "the lowest half", "the lowest 70 %", "a random half", "a random fifth", "the highest fifth")
"""What is cut, by the inverse participation ratio of a neuron's weights."""
NETS = {
    "smoke": {"modulus": 17, CLEAN: (5, 5.0), NOISY: (5, 0.0), DECAYED: (5, 15.0)},
    "cpu": {"modulus": 97, CLEAN: (200, 5.0), NOISY: (500, 0.0), DECAYED: (300, 15.0)},
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
                 "train.symbols": 500 * 522 * 4, "train.weight_decay": 1.0},
                models={"graph": {**_GRAPH, "neurons": 4, "width": 32}}, seeds=3),
}  # fmt: skip
SIZES["gpu"] = SIZES["cpu"]
Found = dict[str, Any]


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


def probed(run: str) -> Found:
    """The probes of the two-layer network on a graph of neurons that answers `a + b =` (for `Lab.measure`).

    A unit is one of the numbers of a neuron. It reads a number with its column of the embedding, and tells answers with
    its row of the head. `weights` are the probes on these; `answers` the same on what it is at the equals sign: its
    mean by a, by b, and by a + b. `adds` is the share of its variance that a + b explains, over all units.
    """
    import torch

    with torch.no_grad():
        return _probed(run)


def _probed(run: str) -> Found:
    import torch

    from inn.analysis import phases
    from inn.analysis.controls.untrained import untrained
    from inn.runs.load import load_with_data

    model: Any
    model, data = load_with_data(run)
    p, seed = data.task.options.modulus, data.task.options.seed  # type: ignore[attr-defined]

    def probes(of: Any) -> tuple[Found, dict[str, Any], Any]:
        read = of.widen(of.embedding.weight[:p]).T
        tells = (of.head.weight[:p] * of.norm.weight).T
        x = _at_the_end(of, p)
        by = x.view(p, p, -1)
        places = (torch.arange(p)[:, None] + torch.arange(p)) % p
        sums = torch.zeros(p, x.shape[1]).index_add_(0, places.flatten(), x) / p
        waves = {"weights": (read, read, tells), "answers": (by.mean(1).T, by.mean(0).T, sums.T)}
        said = {name: _said(phases(*three), three) for name, three in waves.items()}
        adds = float(sums.var(0, correction=0).sum() / x.var(0, correction=0).sum())
        return {**said, "adds": adds}, waves, x

    found, waves, x = probes(model)
    parts = table(p, seed, data.task.options.corrupted, data.task.options.train)  # type: ignore[attr-defined]
    a, b, label = parts["train"]
    wrong = label != (a + b) % p

    def accuracy(cut: Any, a: Any, b: Any, label: Any) -> float | None:
        y = x[a * p + b].clone()
        y[:, cut] = x.mean(0)[cut]
        told = model.predict(model.norm(y[None]))[0]
        return float((told.argmax(-1) == label).double().mean()) if len(label) else None

    cuts = {}
    for name, three in waves.items():
        cuts[name] = {
            what: {
                "test": accuracy(cut, *parts["test"]),
                "taught": accuracy(cut, a[wrong], b[wrong], label[wrong]),
                "right": accuracy(cut, a[wrong], b[wrong], (a + b)[wrong] % p),
            }
            for what, cut in _cuts(_ipr(three), seed).items()
        }
    return {**found, "cuts": cuts, "untrained": probes(untrained(model))[0]}


def _at_the_end(model: Any, p: int) -> Any:
    """The neurons after the last round at the equals sign of every pair, `[p², F]`: pair (a, b) is row a p + b."""
    import torch

    import inn

    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    tokens = torch.stack([a, torch.full_like(a, p), b, torch.full_like(a, p + 5)], 1)
    with inn.record(model, "outputs") as tape:
        model(tokens)
    return model.graph.readout(tape.last_outputs)[:, -1]


def _ipr(three: Any) -> Any:
    import torch

    from inn.analysis import ipr

    return torch.stack([ipr(one - one.mean(-1, keepdim=True)) for one in three]).mean(0)


def _said(found: Any, three: Any) -> Found:
    return {
        "ipr": float(_ipr(three).mean()),
        "single": float(found.single.double().mean()),
        "misaligned": found.median,
        "used": found.used,
        "possible": found.possible,
    }


def _cuts(order: Any, seed: int) -> dict[str, Any]:
    """Which neurons or units each of `CUTS` takes, by their inverse participation ratio `[n]`."""
    import torch

    n, order = len(order), order.argsort()
    chance = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    taken = (order[:0], order[: n // 2], order[: n * 7 // 10], chance[: n // 2], chance[: n // 5], order[n - n // 5 :])
    return dict(zip(CUTS, taken, strict=True))


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
            f"they should be.\n\n{said(result)}"
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


def frequencies(result: dict[str, Any]) -> str:
    """The table of frequencies and phases."""
    heads = ["", "test accuracy:", "of one frequency:", "misaligned:", "frequencies used:", "IPR:"]

    def cell(found: list[Found], name: str) -> str:
        return spread([of[name] for of in found]) if name in found[0] else ""

    rows = []
    for label, found in rows_of(result).items():
        used = f"{_mean([of['used'] for of in found]):.1f} of {found[0]['possible']}" if "used" in found[0] else ""
        cells = [cell(found, name) for name in ("test", "single", "misaligned")]
        rows.append([label, *cells, used, cell(found, "ipr")])
    return markdown(heads, rows)


def cut(result: dict[str, Any]) -> str:
    """The table of what is left without some of the neurons."""
    known: dict[str, list[Found]] = {f"two layers, {kind}": [of["cuts"] for of in result["net"][kind]]
                                     for kind in (NOISY, DECAYED)}  # fmt: skip
    known[f"graph, {NOISY}, by weights"] = [of["cuts"]["weights"] for of in result["graph"][NOISY]]
    known[f"graph, {NOISY}, by answers"] = [of["cuts"]["answers"] for of in result["graph"][NOISY]]
    rows = [
        [label, what, *(spread([of[what][name] for of in found]) for name in ("taught", "right", "test"))]
        for label, found in known.items()
        for what in CUTS
    ]
    return markdown(["", "without", "wrong labels, as taught:", "right:", "test accuracy:"], rows)


def said(result: dict[str, Any]) -> str:
    """How much of what a graph is at the equals sign its sum explains."""
    trained, begun = ([of["adds"] for of in found] for found in (
        result["graph"][CLEAN], [of["untrained"] for of in result["graph"][CLEAN]]))  # fmt: skip
    return (
        f"Of the variance of the graph's numbers at the equals sign a + b explains {_mean(trained):.0%}, "
        f"{_mean(begun):.0%} before training."
    )
