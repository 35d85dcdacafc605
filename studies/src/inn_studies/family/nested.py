"""10: one model, many sizes: first neurons of a nested graph against graphs of that size, trained by themselves."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import Any

from inn_studies.family.entry import Criterion, Entry, mean, row, table
from inn_studies.lab import Job, Lab
from inn_studies.rows import facts, markdown

NESTED, CHEAPER, OWN, CUT = (
    "nested, equal steps",
    "nested, equal compute",
    "trained by themselves",
    "cut out of a plain one",
)
CONTEXTS = [5, 3, 7, 4, 2, 8, 6, 10]
"""Contexts of the n-gram caches, neuron by neuron, the most useful ones first."""
ABOVE, WHOLE, WORSE, SAME = 0.08, 0.02, 0.3, 1e-6


def prefixes(run: str, sizes: list[int], symbols: int) -> dict[str, Any]:
    """Of the first neurons of a run's model, cut out: bits on the test text, sizes, and how far logits are off."""
    import torch

    import inn
    from inn.analysis import kept
    from inn.inference.evaluate import evaluate
    from inn.runs.load import load_with_data

    model, data = load_with_data(run)
    text, found = data.split("test")[:symbols], {}
    whole: Any = inn.load(run).double()
    tokens = torch.from_numpy(text[:256].astype("int64"))[None]
    for n in sizes:
        small = inn.keep(model, neurons=range(n))
        with kept(whole, range(n)), torch.no_grad():
            off = whole(tokens)[0] - inn.keep(whole, neurons=range(n))(tokens)[0]
        found[str(n)] = {
            "bits": evaluate(small, text).bits,
            "parameters": small.num_parameters,
            "flops": sum(small.flops().values()),
            "state_bytes": small.initial_state(1).bytes,
            "off": float(off.abs().max()),
        }
    return found


def timings(run: str, sizes: list[int], symbols: int, repeats: int) -> dict[str, Any]:
    """CPU milliseconds per symbol of the first neurons, cut out: writing one stream, and reading 16 (turn by turn).

    CPU time, since other work on the machine does not count there.
    """
    import torch

    import inn

    model: Any = inn.load(run)
    small = {n: inn.keep(model, neurons=range(n)).eval() for n in sizes}
    tokens = torch.randint(model.config.vocab, (16, symbols), generator=torch.Generator().manual_seed(0))
    found: dict[int, dict[str, list[float]]] = {n: {"write": [], "read": []} for n in sizes}
    for turn in range(repeats + 1):  # the first one warms up
        for n, one in small.items():
            began, state = time.process_time(), None
            for t in range(symbols):
                _, state = one.step_(tokens[0, t : t + 1], state)
            between = time.process_time()
            with torch.no_grad():
                one(tokens)
            if turn:
                found[n]["write"].append((between - began) / symbols * 1e3)
                found[n]["read"].append((time.process_time() - between) / tokens.numel() * 1e3)
    return {str(n): {what: statistics.median(v) for what, v in times.items()} for n, times in found.items()}


class Nested(Entry):
    """Objective `nested` on text8: 1, 2, 4 and 8 neurons of one model."""

    number = 10
    title = "One model, many sizes"
    source = "*SortedNet*, [arXiv 2309.00255](https://arxiv.org/abs/2309.00255)"
    claim = "one training gives 160 sub-models that reach at least 96 % of separately trained ones."
    home = "objective `nested`, `inn.keep`"
    control = "graphs of each size trained by themselves, with the same n-gram contexts; the plain model cut"
    score = "bits per character of held-out text8, fewer is better"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        neurons = size.of(2, 8)
        sizes = [n for n in (1, 2, 4, 8) if n <= neurons]
        symbols, scored = size.of(2048, 400_000), size.of(500, 50_000)

        def job(label: str, count: int, seed: int, symbols: int, **more: Any) -> Job:
            width, rounds = size.of((4, 1), (12, 2))
            settings = {
                "data.corpus": size.of("pydoc", "text8-69m"), "data.window": size.of(32, 128), "data.batch": 16,
                "model.kind": "inn", "model.neurons": count, "model.width": width, "model.rounds": rounds,
                "model.recall": str(CONTEXTS[:count]), "model.recall.slots": size.of(64, 16384),
                "train.symbols": symbols, "train.lr": 0.012, "train.seed": seed, "train.sample_every": 0,
                "train.eval_every": 1_000_000, "train.eval_symbols": size.of(200, 20_000),
                "train.checkpoint_every": 1_000_000, **{k.replace("_", ".", 1): v for k, v in more.items()},
            }  # fmt: skip
            return Job(f"{label} {count} {seed}", size.of("study-smoke", "text8-last"), settings)

        chosen = range(1, 1 + seeds)  # contexts were ordered, and sizes chosen, at seed 0
        alone = {n: lab.train([job("plain", n, seed, symbols) for seed in chosen]) for n in sizes}
        flops = {n: facts(runs[0])["training_flops_per_symbol"] for n, runs in alone.items()}
        # A step trains the full model and one smaller one, drawn from those there are.
        dearer = 1 + statistics.mean(flops[n] for n in sizes[:-1]) / flops[neurons]
        nested = {"train_objective": "nested"}
        whole = lab.train([job("nested", neurons, s, symbols, **nested) for s in chosen])
        fewer = round(symbols / dearer)
        cheaper = lab.train([job("nested", neurons, s, fewer, **nested) for s in chosen])

        def scores(runs: list[Any], counts: list[int]) -> list[dict[str, Any]]:
            return [m for m in lab.measure(prefixes, runs, sizes=counts, symbols=scored) if m is not None]

        def bits(found: list[dict[str, Any]], counts: list[int]) -> dict[str, list[float]]:
            return {_name(n): [f[str(n)]["bits"] for f in found] for n in counts}

        told, cut = scores(whole, sizes), scores(alone[neurons], sizes)
        own = {name: v for n in sizes for name, v in bits(scores(alone[n], [n]), [n]).items()}
        rows = [
            row(NESTED, bits(told, sizes), characters=symbols, compute=dearer),
            row(CHEAPER, bits(scores(cheaper, sizes), sizes), characters=fewer, compute=1.0),
            row(OWN, own, control=True, characters=symbols, compute=sum(flops.values()) / flops[neurons]),
            row(CUT, bits(cut, sizes[:-1]), control=True, characters=symbols, compute=1.0),
        ]
        times = lab.measure(timings, whole[:1], sizes=sizes, symbols=size.of(8, 200), repeats=size.of(1, 9))[0]
        served = {n: {**told[0][n], **times[n]} for n in times}
        return {
            "rows": rows,
            "served": served,
            "off": max(f[str(n)]["off"] for f in told for n in sizes),
            "config": whole[0].config().to_dict(),
        }

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        names = list(result["rows"][0]["scores"])
        smaller = names[:-1]

        def above(label: str, name: str) -> float:
            return mean(result, label, name) / mean(result, OWN, name) - 1

        each = {name: above(NESTED, name) for name in smaller}
        worse = {name: above(CUT, name) for name in smaller}
        full, served = above(NESTED, names[-1]), list(result["served"].values())
        rising = all(
            a[what] < b[what] for a, b in pairwise(served) for what in ("flops", "parameters", "state_bytes", "read")
        )
        return [
            Criterion.of(
                "each size", f"≤ {ABOVE:.0%} above its own training",
                ", ".join(f"{name} {v:+.1%}" for name, v in each.items()), all(v <= ABOVE for v in each.values()),
            ),
            Criterion.of("the full one", f"≤ {WHOLE:.0%} above its own training", f"{full:+.1%}", full <= WHOLE),
            Criterion.of(
                "plain cutting", f"≥ {WORSE:.0%} worse", ", ".join(f"{name} {v:+.0%}" for name, v in worse.items()),
                all(v >= WORSE for v in worse.values()),
            ),
            Criterion.of(
                "`inn.keep`", f"the logits of the silenced model, to {SAME:g} (float64)", f"{result['off']:.1g}",
                result["off"] <= SAME,
            ),
            Criterion.of(
                "four sizes of one run", "FLOPs, bytes and seconds to read rise with the size",
                f"a symbol is read in {', '.join(format(1e3 * s['read'], '.0f') for s in served)} µs of CPU", rising,
            ),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        rows = {r["model"]: r for r in result["rows"]}
        parts = ", ".join(
            f"{name} {mean(result, CHEAPER, name) / mean(result, OWN, name) - 1:+.1%}"
            for name in rows[CHEAPER]["scores"]
        )
        return (
            f"a nested step costs {rows[NESTED]['compute']:.2f} plain ones of the full model; the sizes trained by "
            f"themselves cost {rows[OWN]['compute']:.2f} together. With the compute of the full one alone "
            f"({rows[CHEAPER]['characters']:,} characters in place of {rows[NESTED]['characters']:,}) it is {parts}. "
            "To write a single stream is a matter of calls, not of arithmetic, and takes about as long at all sizes."
        )

    def table(self, result: dict[str, Any]) -> str:
        cells = [
            [
                _name(int(n)), f"{s['parameters']:,}", f"{4 * s['parameters'] / 1e3:,.0f}",
                f"{s['state_bytes'] / 1e3:,.1f}", f"{s['flops'] / 1e3:,.0f} k",
                f"{1e3 * s['read']:.0f}", f"{1e3 * s['write']:.0f}",
]
            for n, s in result["served"].items()
        ]  # fmt: skip
        head = [
            "cut out of one nested run", "parameters:", "kB of weights:", "kB of state:", "FLOPs per symbol:",
            "CPU µs to read a symbol, 16 streams:", "to write one, one stream:",
        ]  # fmt: skip
        return f"{table(result['rows'])}\n\n{markdown(head, cells)}"


def _name(neurons: int) -> str:
    return f"{neurons} neuron{'s' * (neurons > 1)}"
