"""Appendices A.2 and A.3, Figures 3 and 4: what the neurons do, beside shuffled identities and untrained weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from inn.models.inn import INN
from inn_studies.lab import Lab
from inn_studies.paper import ACTIVITY, DEGREE, HUBS
from inn_studies.rows import facts, markdown, model_settings, tune
from inn_studies.sizes import TEXT8, Size
from inn_studies.study import Study, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    from torch import Tensor

DISTINCT, UNTRAINED, PUBLISHED = "distinct", "distinct, untrained", "published form"
BLOCKS, SYMBOLS, WARMUP = 32, 512, 256
"""Stretches of held-out text, spread evenly over it; symbols recorded of each; symbols read before that."""
PASSAGE = 60
"""Symbols of Figure 4, the first recorded ones of the first stretch."""
HUB, SPECIALIST = 1.5, 0.6
"""Times the average received attention (A.3)."""
SILENT = 0.1
"""Activity below which a neuron counts as silent (A.2)."""
ALIKE = 1.01
"""Ratio of the loudest to the quietest neuron up to which they are equal."""

DEFINITIONS = (
    "Lowest and highest neuron: *activity*, root mean square over its width of what a neuron's memory adds, in the "
    "units of the residual stream, which the model is free to choose; *variance* of it over symbols; *received*, "
    f"attention received over the average neuron's. *< {SILENT}*: share of neuron-symbol pairs whose activity is below "
    "that, and below a tenth of the round's mean. *Degree*: sources a neuron effectively listens to, exp of the "
    "entropy of its attention (heads averaged), at a symbol, and of the attention averaged over symbols; *edges*: "
    "sources above half the uniform share, at a symbol."
)
CONTROL = (
    f"Shuffled identities: each of {BLOCKS} stretches of text gets its own random order of the neurons, the same in "
    "all rounds; p is the share of 1000 such shuffles that reach what was observed. A small p says that neurons are "
    "not exchangeable, which different weights alone can bring about: what training adds is the difference from the "
    "untrained model. Sparsity and the degree at a symbol do not depend on identities; for them that is the only "
    "control."
)


class Neurons(Study):
    name = "neurons"
    source = "appendices A.2 and A.3, Figures 3 and 4"
    question = (
        "Which neurons are loud, heard and selective, and is that more than chance, or than what is there untrained?"
    )

    def sizes(self) -> dict[str, Size]:
        return {scale: replace(size, seeds=1) for scale, size in TEXT8.items()}

    def run(self, lab: Lab, size: Size, seeds: int) -> dict[str, Any]:
        models = {label: model_settings(size, label) for label in ("inn-distinct", "inn-paper-fixed")}
        different, published = tune(lab, size, models, seeds)
        found = {
            DISTINCT: lab.measure(roles, different.runs[:1], trained=True)[0],
            UNTRAINED: lab.measure(roles, different.runs[:1], trained=False)[0],
            PUBLISHED: lab.measure(roles, published.runs[:1], trained=True)[0],
        }
        return {"models": found, "provenance": {m.label: facts(m.runs[0]) for m in (different, published)}}

    def table(self, result: dict[str, Any]) -> str:
        found = {label: model for label, model in result["models"].items() if model is not None}
        row = result["provenance"]["inn-distinct"]
        head = ["model", "round:", "activity:", "variance:", "< 0.1:", "< 0.1 of mean:", "received:", "degree:",
                "degree of the mean:", "edges:"]  # fmt: skip
        by_round = markdown(
            head, [[label, f"{r}", *_round(at)] for label, m in found.items() for r, at in enumerate(m["rounds"], 1)]
        )
        overall = markdown(
            ["model", "neurons:", "hubs", "specialists", "loudest / quietest:"],
            [
                [label, f"{m['neurons']}", _listed(m["hubs"]), _listed(m["specialists"]), f"{m['loudness_ratio']:.2f}"]
                for label, m in found.items()
            ],
        )
        nulls = markdown(
            ["model", "statistic", "observed:", "shuffled, mean:", "shuffled, 95%:", "p:"],
            [
                [label, name, f"{n['observed']:.3g}", f"{n['mean']:.3g}", f"{n['high']:.3g}", f"{n['p']:.3f}"]
                for label, m in found.items()
                for name, n in m["nulls"].items()
            ],
        )
        return (
            f"{row['symbols']:,} symbols of {row['data']['name']}; {next(iter(found.values()))['symbols']:,} symbols "
            f"of held-out text recorded. {DEFINITIONS}\n\n{by_round}\n\nOver all rounds; hubs receive more than {HUB}, "
            f"specialists less than {SPECIALIST} times the average (neurons are numbered from 0):\n\n{overall}\n\n"
            f"{CONTROL}\n\n{nulls}"
        )

    def draw(self, result: dict[str, Any], figure: Figure) -> bool:
        model = result["models"][DISTINCT]
        if model is None:
            return False
        maps, passage = model["connectivity"], model["passage"]
        grid = figure.add_gridspec(2, len(maps))
        high = max(value for one in maps for row in one for value in row)
        for r, one in enumerate(maps):
            axes = figure.add_subplot(grid[0, r])
            image = axes.imshow(one, vmin=0, vmax=high, cmap="viridis")
            axes.set(title=f"round {r + 1}", xlabel="from neuron", ylabel="to neuron" if r == 0 else "")
            if r == len(maps) - 1:
                figure.colorbar(image, ax=axes, label="mean attention")
        axes = figure.add_subplot(grid[1, :])
        image = axes.imshow(passage["activity"], aspect="auto", cmap="magma")
        axes.set(ylabel="neuron", title="activity over a passage, last round")
        axes.set_xticks(range(len(passage["text"])), [c if c.strip() else "·" for c in passage["text"]])
        figure.colorbar(image, ax=axes, label="activity")
        return True

    def verdicts(self, result: dict[str, Any]) -> list[Verdict]:
        published, distinct = result["models"][PUBLISHED], result["models"][DISTINCT]
        if published is None or distinct is None:
            return [Verdict("roles of neurons", "A.2, A.3", "–", "not measured", "every run diverged")]
        untrained = result["models"][UNTRAINED]
        return [
            activity_verdict(published, distinct),
            sparsity_verdict(published, distinct, untrained),
            hubs_verdict(published, distinct, untrained),
            degree_verdict(published, distinct),
        ]


def roles(run: str, trained: bool) -> dict[str, Any]:
    """What the neurons of a run do on held-out text, or would with the weights it began with (for `Lab.measure`)."""
    import torch

    from inn.nn.modes import as_tokens
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data

    model, dataset = load_with_data(run)
    assert isinstance(model, INN)
    if not trained:
        torch.manual_seed(Run(run).config().train.seed)
        model = INN(model.config).eval()
    apart = len(dataset.valid) // BLOCKS
    symbols = min(SYMBOLS, apart // 2)
    warmup = min(WARMUP, apart - symbols)
    places = [i * apart for i in range(BLOCKS)]
    blocks = torch.stack([as_tokens(dataset.valid[at : at + warmup + symbols], torch.device("cpu")) for at in places])
    found = statistics_of(model, blocks, warmup)
    written = blocks[0, warmup : warmup + PASSAGE].tolist()
    found["passage"]["text"] = [dataset.vocabulary.decode([symbol]) for symbol in written]
    return found


def statistics_of(model: INN, blocks: Tensor, warmup: int) -> dict[str, Any]:
    """Statistics of a model's neurons on stretches of text `[K, warmup + symbols]`, each from a fresh state."""
    import torch

    from inn.analysis import received, shuffled_identities
    from inn.analysis.recording.trace import trace
    from inn.nn.modes import evaluating

    kept: list[tuple[Tensor, Tensor]] = []
    with evaluating(model), torch.no_grad():
        for block in blocks[:, None]:
            _, state = model(block[:, :warmup]) if warmup else (None, None)
            with trace(model, "routing", "activity") as tape:
                model(block[:, warmup:], state)
            kept.append((tape.values("routing").mean(2), tape.values("activity")))  # [R, S, N, N] and [R, S, N]
    maps = torch.stack([routing.mean(1) for routing, _ in kept])  # [K, R, N, N]
    loud = torch.stack([activity.mean(1) for _, activity in kept])  # [K, R, N]
    mean = maps.mean(0)
    heard, levels = received(mean.mean(0)), loud.mean((0, 1))

    def spread(m: Tensor) -> float:
        return float(received(m.mean(0)).std(correction=0))

    nulls = {
        "spread of received attention": shuffled_identities(maps, spread, 2),
        "hubs": shuffled_identities(maps, lambda m: float((received(m.mean(0)) > HUB).sum()), 2),
        "specialists": shuffled_identities(maps, lambda m: float((received(m.mean(0)) < SPECIALIST).sum()), 2),
        "spread of activity": shuffled_identities(loud, lambda a: float(a.mean(0).std(correction=0) / a.mean()), 1),
    }
    return {
        "neurons": model.config.neurons,
        "symbols": blocks.shape[0] * (blocks.shape[1] - warmup),
        "rounds": [_round_facts(kept, mean, r) for r in range(model.config.rounds)],
        "hubs": (heard > HUB).nonzero().flatten().tolist(),
        "specialists": (heard < SPECIALIST).nonzero().flatten().tolist(),
        "loudness": levels.tolist(),
        "loudness_ratio": float(levels.max() / levels.min()),
        "nulls": {name: asdict(null) for name, null in nulls.items()},
        "connectivity": _rounded(mean),
        "passage": {"activity": _rounded(kept[0][1][-1, :PASSAGE].T)},
    }


def _round_facts(kept: list[tuple[Tensor, Tensor]], mean: Tensor, r: int) -> dict[str, Any]:
    """What one round's neurons do, over all stretches."""
    import torch

    from inn.analysis import effective_degree, received, relative, sparsity, thresholded_degree

    activity = torch.cat([a[r] for _, a in kept])  # [symbols, N]
    routing = [w[r] for w, _ in kept]
    return {
        "activity": activity.mean(0).tolist(),
        "variance": activity.var(0, correction=0).tolist(),
        "silent": float(sparsity(activity, SILENT)),
        "silent_relative": float(sparsity(relative(activity), SILENT)),
        "received": received(mean[r]).tolist(),
        "degree": float(torch.stack([effective_degree(w).mean() for w in routing]).mean()),
        "degree_of_mean": float(effective_degree(mean[r]).mean()),
        "edges": float(torch.stack([thresholded_degree(w).mean() for w in routing]).mean()),
    }


def activity_verdict(published: dict[str, Any], distinct: dict[str, Any]) -> Verdict:
    """What became of the loud and the quiet neurons."""
    paper = f"mean activity {ACTIVITY['mean_low']}–{ACTIVITY['mean_high']} (A.2)"
    shown = f"published form {_span(published['loudness'])}, distinct {_span(distinct['loudness'])}"
    if published["loudness_ratio"] <= ALIKE:
        p = distinct["nulls"]["spread of activity"]["p"]
        because = f"published neurons are equal; distinct ones differ (shuffled identities: p = {p:.3f})"
        return Verdict("neurons are differently active", paper, shown, "not reproduced", because)
    return Verdict("neurons are differently active", paper, shown, "reproduced", "published neurons differ")


def sparsity_verdict(published: dict[str, Any], distinct: dict[str, Any], untrained: dict[str, Any] | None) -> Verdict:
    """What became of the silent third."""
    ours = {"published form": _silent(published), "distinct": _silent(distinct)}
    if untrained is not None:
        ours["untrained"] = _silent(untrained)
    shown = ", ".join(f"{label} {share:.0%}" for label, share in ours.items())
    close = abs(ours["published form"] - ACTIVITY["sparse_share"]) <= 0.1
    because = "the share depends on the scale of activity, which is free; no definition is given"
    paper = f"{ACTIVITY['sparse_share']:.0%} of pairs < {SILENT} (A.2)"
    return Verdict("neurons are sparsely active", paper, shown, "reproduced" if close else "not reproduced", because)


def hubs_verdict(published: dict[str, Any], distinct: dict[str, Any], untrained: dict[str, Any] | None) -> Verdict:
    """What became of hubs and specialists."""
    paper = f"{HUBS['hubs']} hubs, {HUBS['specialists']} specialists of {HUBS['neurons']} (A.3, Fig. 3)"
    shown = f"published form {_roles(published)}; distinct {_roles(distinct)}"
    if untrained is not None:
        shown += f"; distinct, untrained {_roles(untrained)}"
    test = distinct["nulls"]["spread of received attention"]
    chance = f"in the distinct form received attention is spread by {test['observed']:.2f} (p = {test['p']:.3f}"
    if untrained is not None:
        chance += f"; untrained {untrained['nulls']['spread of received attention']['observed']:.2f}"
    chance += ")"
    if published["hubs"] and published["specialists"]:
        return Verdict("hubs and specialists emerge", paper, shown, "reproduced", chance)
    because = f"published neurons are equal, so attention is uniform and there are no roles; {chance}"
    if not _equal(published):
        because = f"no neuron of the published form passes the thresholds; {chance}"
    return Verdict("hubs and specialists emerge", paper, shown, "not reproduced", because)


def degree_verdict(published: dict[str, Any], distinct: dict[str, Any]) -> Verdict:
    """What became of the degree that falls from round to round."""
    first, last = min(DEGREE), max(DEGREE)
    paper = f"{DEGREE[first]} of {HUBS['neurons']} in round {first}, {DEGREE[last]} in round {last} (A.3)"
    ends = {label: [m["rounds"][i]["degree"] for i in (0, -1)] for label, m in
            (("published form", published), ("distinct", distinct))}  # fmt: skip
    shown = "; ".join(
        f"{label} {a:.2f} → {b:.2f} of {m['neurons']}"
        for (label, (a, b)), m in zip(ends.items(), (published, distinct), strict=True)
    )
    start, end = ends["published form"]
    falls = end < start * (1 - (DEGREE[first] - DEGREE[last]) / DEGREE[first] / 2)
    if falls:
        return Verdict(
            "later rounds are sparser", paper, shown, "reproduced", "the degree falls by at least half as much"
        )
    because = "uniform attention has degree N in every round" if _equal(published) else "the degree hardly falls"
    return Verdict("later rounds are sparser", paper, shown, "not reproduced", because)


def _equal(model: dict[str, Any]) -> bool:
    """Whether attention is the same for all neurons, up to rounding, in every round."""
    return all(abs(value - 1) < 1e-4 for at in model["rounds"] for value in at["received"])


def _silent(model: dict[str, Any]) -> float:
    return sum(at["silent"] for at in model["rounds"]) / len(model["rounds"])


def _roles(model: dict[str, Any]) -> str:
    return f"{len(model['hubs'])} and {len(model['specialists'])} of {model['neurons']}"


def _span(values: list[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def _listed(neurons: list[int]) -> str:
    return ", ".join(map(str, neurons)) or "none"


def _rounded(x: Tensor) -> Any:
    return [[round(v, 4) for v in row] for row in x.tolist()] if x.ndim == 2 else [_rounded(part) for part in x]


def _round(at: dict[str, Any]) -> list[str]:
    return [
        _span(at["activity"]),
        "–".join(f"{pick(at['variance']):.2g}" for pick in (min, max)),
        f"{at['silent']:.0%}",
        f"{at['silent_relative']:.0%}",
        _span(at["received"]),
        f"{at['degree']:.2f}",
        f"{at['degree_of_mean']:.2f}",
        f"{at['edges']:.2f}",
    ]
