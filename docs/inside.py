"""Measure what docs/inside.md tells, keep it in results/inside.json, and write the tables of the page from there.

inn demo                              # the run, in minutes
python docs/inside.py runs/demo       # measure, and write results and tables
inn study grokking                    # the second walk, results/grokking.json
python docs/inside.py                 # the tables alone
"""

from __future__ import annotations

import json
import math
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "results" / "inside.json", ROOT / "docs" / "inside.md"
ADDING = ROOT / "results" / "grokking.json"
SPLITS = ("valid", "test")
"""The finding was made on the first and is tested on the second."""
CLASS = "upper case"
CLASSES = ("vowel", "consonant", "space", "line end", "punctuation", "bracket", "quote", CLASS)
"""Of the symbol to be predicted; those with enough symbols in the text to average over."""
COLUMNS = {
    "that": "that one comes",
    "which": "which one",
    "mean_replaced": "mean instead",
    "unheard": "unheard",
    "untrained": "untrained",
}
EXAMPLE = "set.\n\nNew in version 3.9.\n\n"
"""The text of the page's Python."""


def measure(run: str) -> dict[str, Any]:
    """What `inn analyze RUN --json` says of both held-out parts, and what its neurons are worth at capitals."""
    from inn.analysis.overview import survey
    from inn.runs.directory import Run
    from inn.runs.load import load_with_data
    from inn.system.provenance import commit, versions

    model, dataset = load_with_data(run)
    told = Run(run).summary() or {}
    return {
        "command": f"python docs/inside.py {run}",
        "commit": commit(),
        "versions": versions(),
        "run": {key: told[key] for key in ("commit", "config", "data", "hardware", "versions")},
        "surveys": {split: survey(model, dataset, split=split, run=run) for split in SPLITS},
        "capitals": {split: capitals(model, dataset, split) for split in SPLITS},
        "example": example(model),
    }


def example(model: Any) -> list[float]:
    """Chance of a capital after `EXAMPLE`, with all neurons, then without each, as the page's Python has it."""
    import torch

    from inn.analysis import silenced

    symbols = model.vocabulary
    tokens = torch.from_numpy(symbols.encode(EXAMPLE)).long()[None]
    upper = [i for i in range(symbols.size) if symbols.decode([i]).isupper()]
    found = []
    for chosen in [], *([n] for n in range(model.config.neurons)):
        with silenced(model, chosen), torch.no_grad():
            found.append(float(model(tokens, model.experience)[0][0, -1].softmax(-1)[upper].sum()))
    return found


def capitals(model: Any, dataset: Any, split: str, seed: int = 0) -> dict[str, Any]:
    """What each neuron's silence costs at the upper-case letters to be predicted, with its controls.

    The bits of a capital are those of "a capital comes" and those of which one it is: -log2 P(any capital) and
    -log2 P(this one | a capital). The interval is a bootstrap over stretches of text. The null deals the neurons out
    anew in every stretch and looks at the highest cost of any neuron. `unheard`: other neurons do not hear it, the
    readout does; `untrained`: silenced in the model as it begins.
    """
    import torch

    from inn.analysis import cut, mean_replaced, shuffled_identities, silenced
    from inn.analysis.controls.untrained import untrained
    from inn.analysis.lesions.cause import unlesioned
    from inn.analysis.observe import observe
    from inn.analysis.recording.stretches import stretches

    text, neurons = stretches(dataset.split(split)), range(model.config.neurons)
    vocabulary = dataset.vocabulary
    upper = torch.tensor([vocabulary.decode([i]).isupper() for i in range(vocabulary.size)])
    there = upper[text.targets]

    def costs(of: Any, lesion: Any = silenced) -> tuple[Any, Any]:
        """Bits of the whole model `[2, K, T]` (that, which), and what they rise by under a lesion of each neuron."""
        lesions = [unlesioned, *(partial(lesion, of, [n]) for n in neurons)]
        whole, *rest = (_that_and_which(of, text, each, upper) for each in lesions)
        return whole, torch.stack(rest) - whole

    def unheard(of: Any, chosen: list[int]) -> Any:
        """These say nothing to other neurons; the readout hears them."""
        return cut(of, [(to, n) for n in chosen for to in neurons if to != n])

    fresh = untrained(model, seed)
    whole, cost = costs(model)
    averages = observe(model, text).averages
    begun, apart = costs(fresh)[1].sum(1), costs(model, unheard)[1].sum(1)
    constant = costs(model, lambda of, chosen: mean_replaced(of, chosen, averages))[1].sum(1)
    count = there.sum(1).double()  # by stretch
    sums = (cost.sum(1).double() * there).sum(-1)  # [N, K]
    drawn = torch.randint(len(count), (2000, len(count)), generator=torch.Generator().manual_seed(seed))
    boot = sums[:, drawn].sum(-1) / count[drawn].sum(-1)
    low, high = boot.quantile(torch.tensor([0.025, 0.975], dtype=boot.dtype), dim=-1)
    null = shuffled_identities(sums.T / count.mean(), lambda mean: float(mean.max()), axes=1, seed=seed)
    return {
        "count": int(there.sum()),
        "that": float(whole[0][there].mean()),
        "which": float(whole[1][there].mean()),
        "neurons": [
            {
                "bits": float(sums[n].sum() / count.sum()),
                "low": float(low[n]),
                "high": float(high[n]),
                "that": float(cost[n, 0][there].mean()),
                "which": float(cost[n, 1][there].mean()),
                "mean_replaced": float(constant[n][there].mean()),
                "unheard": float(apart[n][there].mean()),
                "untrained": float(begun[n][there].mean()),
            }
            for n in neurons
        ],
        "null": vars(null),
    }


def _that_and_which(model: Any, text: Any, lesion: Any, upper: Any) -> Any:
    """Bits `[2, K, T]` of whether an upper-case letter comes, and of the symbol among those of its kind."""
    import torch

    from inn.analysis.recording.stretches import entering, recalled, warmed

    found = []
    with torch.no_grad():
        for part in text.groups():
            x = entering(model, part, recalled(model, part))
            with lesion():
                y, _ = model.graph.run(*warmed(model, part, x))
                chance = model._write(y).float().log_softmax(-1)  # the readout too is lesioned
            kind = torch.where(upper[part.targets], chance[..., upper].logsumexp(-1), chance[..., ~upper].logsumexp(-1))
            this = chance.gather(-1, part.targets[..., None])[..., 0]
            found.append(torch.stack([-kind, kind - this]) / math.log(2))
    return torch.cat(found, 1)


def read() -> dict[str, Any]:
    """What was measured for both walks; that of the second is `adding`, as `inn study grokking` keeps it."""
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS, ADDING))
    return {**first, "adding": second["cpu"]}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the page by name, as Markdown."""
    from inn_studies.grokking import cut, frequencies, left
    from inn_studies.rows import markdown

    adding = result["adding"]["result"]
    survey, shown = result["surveys"]["valid"], result["capitals"]
    untrained, spread, found = survey["control"]["untrained"], survey["roles"]["hubs"], survey["communities"]

    def cost(of: dict[str, float]) -> str:
        return f"{of['bits']:.2f} ({of['low']:.2f} to {of['high']:.2f})"

    def listed(names: list[int]) -> str:
        return ", ".join(map(str, names)) or "none"

    graph = [
        ["hubs (heard more than 1.5 × the mean)", listed(survey["hubs"]), "", "", ""],
        ["specialists (heard less than 0.6 × the mean)", listed(survey["specialists"]), "", "", ""],
        ["spread of received weight", f"{spread['observed']:.3f}", f"{spread['mean']:.3f}", f"{spread['p']:.3f}",
         f"{untrained['received_spread']:.3f}"],
        ["modularity of communities", f"{found['modularity']:.3f}", f"{found['null']['mean']:.3f}",
         f"{found['null']['p']:.3f}", f"{untrained['modularity']:.3f}"],
        ["effective neurons", f"{survey['effective_neurons']:.2f}", "", "", f"{untrained['effective_neurons']:.2f}"],
    ]  # fmt: skip
    classes = [
        [str(card["neuron"]), f"{received:.2f}", cost(card["lesion"])]
        + [f"{card['lesion']['by_class'][name]:.2f}" for name in CLASSES]
        for card, received in zip(survey["cards"], survey["received"], strict=True)
    ]
    classes.append(["share of text", "", "", *(f"{survey['classes'][name]:.1%}" for name in CLASSES)])
    upper = [
        [str(n), cost(valid), cost(test), *(f"{test[key]:.2f}" for key in COLUMNS)]
        for n, (valid, test) in enumerate(zip(*(shown[split]["neurons"] for split in SPLITS), strict=True))
    ]
    nulls = [shown[split]["null"] for split in SPLITS]
    upper.append(
        ["highest, shuffled", *(f"{of['mean']:.2f} (p = {of['p']:.3f})" for of in nulls), *("" for _ in COLUMNS)]
    )
    heads = ["all there", *(f"without {card['neuron']}" for card in survey["cards"])]
    parts = [
        [f"{'communication in ' if of['what'] == 'communication' else ''}round {of['round'] + 1}", cost(of)]
        for of in survey["rounds_lesioned"]
    ]
    strongest = max(survey["edges"], key=lambda of: of["bits"])
    parts.append([f"the edge that costs most, {strongest['from']} → {strongest['to']}", cost(strongest)])
    return {
        "graph": markdown(["", "this run:", "shuffled:", "p:", "untrained:"], graph),
        "classes": markdown(["neuron", "received:", "whole text:", *(f"{name}:" for name in CLASSES)], classes),
        "capitals": markdown(["neuron", "validation:", "test:", *(f"{name}:" for name in COLUMNS.values())], upper),
        "example": markdown([f"{head}:" for head in heads], [[f"{chance:.2f}" for chance in result["example"]]]),
        "parts": markdown(["without", "bits per symbol:"], parts),
        "source": source(result),
        "waves": frequencies(adding, "two layers"),
        "memorised": cut(adding, "two layers"),
        "graph-waves": frequencies(adding, "graph"),
        "left": left(adding),
        "adding": f"`{result['adding']['command']}`, commit {result['adding']['commit']}; "
        f"{result['adding']['hardware']['cpu']}, torch {result['adding']['versions']['torch']}. Means over "
        f"{result['adding']['seeds']} seeds ± their standard deviation.",
    }


def source(result: dict[str, Any]) -> str:
    """Where the numbers come from."""
    run, survey = result["run"], result["surveys"]["valid"]
    counts = " and ".join(f"{result['capitals'][split]['count']} in {split}" for split in SPLITS)
    return (
        f"`{result['command']}`, commit {result['commit']}; the run: `inn demo`, commit {run['commit']}, seed "
        f"{run['config']['train']['seed']}, corpus {run['data']['name']} of Python {run['versions']['python']} "
        f"(sha256 {run['data']['sha256'][:12]}…), {run['hardware']['cpu']}, torch {run['versions']['torch']}. "
        f"{survey['symbols']:,} symbols of each part; capitals: {counts}."
    )


def with_tables(page: str, result: dict[str, Any]) -> str:
    """The page with its tables, `<!-- table: inside-NAME -->` to `<!-- end -->`, as the result has them."""
    made = tables(result)

    def table(found: re.Match) -> str:
        return f"{found[1]}{made[found[2]]}\n{found[3]}"

    return re.sub(r"(<!-- table: inside-(\S+) -->\n).*?(<!-- end -->)", table, page, flags=re.DOTALL)


def main(*runs: str) -> None:
    """Measure the run, if one is given, and write the tables."""
    if runs:
        RESULTS.write_text(json.dumps(measure(runs[0]), ensure_ascii=False) + "\n", encoding="utf-8")
    result = read()
    if PAGE.exists():
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
