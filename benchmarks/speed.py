"""Measure the speed of everything `inn bench` knows and keep it, with machine and commit, in results/speed.json.

    python benchmarks/speed.py                          # every row
    python benchmarks/speed.py --only scan,growth       # these rows anew, the others as they were
    python benchmarks/speed.py --add gpu.json           # rows measured elsewhere by `inn bench --json` or gpu.sh
    python benchmarks/speed.py --show --page            # the table of that file, into docs/speed.md too

A row that cannot be measured here (no GPU, no network) leaves what was measured before as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "speed.json"
BEGIN, END = "<!-- table: speed -->\n", "<!-- end -->"


def study(only: str | None, threads: int | None) -> dict[str, dict[str, Any]]:
    """Run `inn bench`; returns its rows."""
    from inn_benchmarks.command import bench, parse

    argv = [*(("--only", only) if only else ()), *(("--threads", str(threads)) if threads else ())]
    return bench(parse(argv))


def added(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a file that `inn bench --json` or `benchmarks/gpu.sh` wrote."""
    parts = found.get("parts")
    return found if parts is None else {name: p["found"] for name, p in parts.items() if p["status"] == "measured"}


def merged(kept: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
    """The results with these rows in place of the old ones, in the benchmark's order, and what made them."""
    from inn.system.provenance import versions
    from inn_benchmarks.environment import PINS
    from inn_benchmarks.rows import ROWS

    old = kept.get("rows", {})
    measured = {name: row for name, row in rows.items() if not (row["skipped"] and name in old)}
    every = {**old, **measured}
    return {
        "command": "python benchmarks/speed.py",
        "versions": versions(),
        "peers": list(PINS),
        "rows": {name: every[name] for name in ROWS if name in every},
    }


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table, and where it was measured."""
    from inn_benchmarks.rows import limit, number, verdict

    lines = ["| id | what is measured | ratio | limit | |", "| --- | --- | ---: | ---: | --- |"]
    for name, row in result["rows"].items():
        threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
        sizes = f"; {row['sizes']}; {row['dtype']}, {threads}" if row["sizes"] else ""
        cells = (number(row["ratio"], row["unit"]), limit(row), verdict(row))
        lines.append(f"| `{name}` | {row['what']}{sizes} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *places(result["rows"])])


def places(rows: dict[str, Any]) -> list[str]:
    """One line for every machine, PyTorch and commit that rows were measured on."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        if row["ratio"] is not None:
            m = row["machine"]
            machine = ", ".join(str(part) for part in (m.get("gpu"), m["cpu"], f"{m['cores']} cores") if part)
            place = f"{machine}, torch {row['torch']}, commit {row['commit'] or 'not known'}"
            found.setdefault(place, []).append(f"`{name}`")
    if len(found) == 1:
        return [f"Measured on {place}." for place in found]
    return [f"Measured on {place}: {', '.join(names)}." for place, names in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows by id, separated by commas")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--add", type=Path, help="rows from a file that `inn bench --json` or gpu.sh wrote")
    parser.add_argument("--show", action="store_true", help="print the table of the results file; measure nothing")
    parser.add_argument("--page", action="store_true", help="put the table into docs/speed.md too")
    args = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not args.show:
        rows = added(json.loads(args.add.read_text())) if args.add else None
        os.chdir(ROOT)  # the plot of growth goes to results/
        rows = rows if rows is not None else study(args.only, args.threads)
        kept = merged(kept, rows)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    lines = table(kept)
    if args.page:
        page = ROOT / "docs" / "speed.md"
        before, after = page.read_text().split(BEGIN)
        page.write_text(before + BEGIN + lines + "\n" + END + after.split(END, 1)[1])
    print(lines)  # noqa: T201
    return int(any(row["error"] is not None for row in kept["rows"].values()))


if __name__ == "__main__":
    sys.exit(main())
