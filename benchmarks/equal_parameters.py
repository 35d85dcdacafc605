"""Train every kind of model of a recipe on the same symbols and set the results side by side.

    python benchmarks/equal_parameters.py text8-small             # train what is missing, write the results
    python benchmarks/equal_parameters.py text8-small --show      # print the table of that file
    python benchmarks/equal_parameters.py text8-1m --fixed inn=3e-3 mamba-stack=6e-3    # these kinds, at these rates

The kinds come with the recipe, at about equal parameters; each learning rate is the best of the small sweep `RATES` for
that kind, chosen on what training validates on (100,000 symbols, seed 0). The rows report all of the validation and of
the test part, read as 32 streams with the state carried. Runs are kept in runs/ and used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

RATES = ("3e-3", "6e-3", "1.2e-2")
KINDS = ("inn", "mamba-stack", "transformer", "lstm")
STREAMS = 32  # parts of a split read side by side, each warmed up on the symbols before it
ROOT = Path(__file__).resolve().parent.parent


def run_one(recipe: str, kind: str, rate: str, seed: int, threads: int) -> Path:
    """Train one model unless its run is there and finished; return its run directory."""
    from inn.commands.train import main

    run = Path("runs") / recipe / f"{kind}-{rate}-{seed}"
    if run.exists():
        if json.loads((run / "summary.json").read_text())["status"] != "finished":
            main(["--resume", str(run)])
        return run
    options = {"model.kind": kind, "train.lr": rate, "train.seed": seed, "train.threads": threads}
    code = main([recipe, "--run", str(run), *(word for k, v in options.items() for word in (f"--{k}", str(v)))])
    if code:
        sys.exit(code)
    return run


def measure(run: Path, split: str) -> dict:
    """Score a run on a whole part of its corpus; kept beside the run."""
    from inn.commands.evaluate import score

    kept = run / f"score-{split}.json"
    if not kept.exists():
        kept.write_text(json.dumps(score(str(run), split, streams=STREAMS)))
    return json.loads(kept.read_text())


def study(recipe: str, seeds: int, threads: int, fixed: dict[str, str]) -> dict:
    """Everything the table needs, as plain data; kinds with a `fixed` rate are the only ones, and are not swept."""
    rows = []
    for kind in fixed or KINDS:
        rates = [fixed[kind]] if fixed else RATES
        sweep = {rate: summary(run_one(recipe, kind, rate, 0, threads))["best"]["bits"] for rate in rates}
        rate = min(sweep, key=lambda r: sweep[r])
        runs = [run_one(recipe, kind, rate, seed, threads) for seed in range(seeds)]
        first = summary(runs[0])
        rows.append(
            {
                "kind": kind,
                "lr": float(rate),
                "sweep_valid_bits": sweep,
                "parameters": first["parameters"],
                "training_flops_per_symbol": first["training_flops"],
                "symbols": first["symbols"],
                "valid_bits": [measure(run, "valid")["bits"] for run in runs],
                "test_bits": [measure(run, "test")["bits"] for run in runs],
                "training_seconds": [summary(run)["training_seconds"] for run in runs],
                "memory_bytes": [summary(run)["memory_bytes"] for run in runs],
                "config": first["config"],
                "commit": first["commit"],
            }
        )
    facts = measure(runs[0], "test")
    return {
        "recipe": recipe,
        "command": f"python benchmarks/equal_parameters.py {recipe} --seeds {seeds} --threads {threads}"
        + "".join(f" {word}" for word in (["--fixed", *map("=".join, fixed.items())] if fixed else [])),
        "rows": rows,
        "floors": {part: measure(runs[0], part)["floors"] for part in ("valid", "test")},
        "scored": {part: measure(runs[0], part)["count"] for part in ("valid", "test")},
        "corpus": facts["corpus"],
        "data_sha256": facts["data_sha256"],
        "hardware": first["hardware"],
        "versions": first["versions"],
    }


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = [
        "| model | parameters | training FLOPs/symbol | lr | valid BPC | test BPC | minutes | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['kind']} | {row['parameters']:,} | {row['training_flops_per_symbol'] / 1e6:.2f} M | {row['lr']:g} "
            f"| {spread(row['valid_bits'])} | {spread(row['test_bits'])} "
            f"| {statistics.median(row['training_seconds']) / 60:.1f} | {max(row['memory_bytes']) / 1e6:.0f} |"
        )
    for name in ("trigram", "bigram", "unigram"):
        valid, test = (result["floors"][part][name] for part in ("valid", "test"))
        lines.append(f"| {name}, counted on all 64 M | – | – | – | {valid:.3f} | {test:.3f} | – | – |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ± {statistics.stdev(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--fixed", nargs="*", default=[], metavar="KIND=RATE", help="these kinds only, without a sweep")
    parser.add_argument("--show", action="store_true", help="print the table of the results file; train nothing")
    parser.add_argument("--readme", action="store_true", help="put the table into the README too")
    args = parser.parse_args()
    fixed = dict(pair.split("=", 1) for pair in args.fixed)
    path = ROOT / "results" / f"{args.recipe}.json"
    if not args.show:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(study(args.recipe, args.seeds, args.threads, fixed), indent=1) + "\n")
    rows = table(json.loads(path.read_text()))
    if args.readme:
        readme = ROOT / "README.md"
        begin, end = f"<!-- table: {args.recipe} -->\n", "<!-- end -->"
        before, after = readme.read_text().split(begin)
        readme.write_text(before + begin + rows + "\n" + end + after.split(end, 1)[1])
    print(rows)  # noqa: T201


if __name__ == "__main__":
    main()
