"""Measure the speed of everything `inn bench` knows and keep it, with machine and commit, in results/speed.json.

    python benchmarks/speed.py                          # every row
    python benchmarks/speed.py --only scan,growth       # these rows anew, the others as they were
    python benchmarks/speed.py --add gpu.json           # rows measured elsewhere by `inn bench --json` or gpu.sh
    python benchmarks/speed.py --profile                # where the time goes, into results/profile.json
    python benchmarks/speed.py --show --page            # the tables of these files, into docs/speed.md too

Rows are kept by processor: on another machine they are added beside those of before. A row that cannot be measured
here (no GPU, no network) leaves what was measured before as it is.
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
PROFILES = ROOT / "results" / "profile.json"
END = "<!-- end -->"


def study(only: str | None, threads: int | None) -> dict[str, dict[str, Any]]:
    """Run `inn bench`; returns its rows."""
    from inn_benchmarks.command import bench, parse

    argv = [*(("--only", only) if only else ()), *(("--threads", str(threads)) if threads else ())]
    return bench(parse(argv))


def added(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a file that `inn bench --json` or `benchmarks/gpu.sh` wrote."""
    parts = found.get("parts")
    return found if parts is None else {name: p["found"] for name, p in parts.items() if p["status"] == "measured"}


def processor(row: dict[str, Any]) -> str:
    """What a row was measured on, by its name: the card where there is one."""
    return row["machine"].get("gpu") or row["machine"]["cpu"]


def here() -> str:
    """The name of this machine's processor."""
    import torch

    from inn.system.provenance import hardware

    return hardware(torch.device("cpu"))["cpu"]


def merged(kept: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
    """The results with these rows in place of the old ones of the same processor, in the benchmark's order."""
    from inn.system.provenance import versions
    from inn_benchmarks.environment import PINS
    from inn_benchmarks.rows import ROWS

    before = kept.get("processors", {})
    every = {place: dict(of["rows"]) for place, of in before.items()}
    made = {place: {key: of[key] for key in ("versions", "peers")} for place, of in before.items()}
    usual = next((processor(row) for row in rows.values() if row["machine"]), None) or here()
    for name, row in rows.items():
        place = processor(row) if row["machine"] else usual
        if row["skipped"] and any(name in old for old in every.values()):
            continue  # what cannot be measured here is left as it was
        for old in every.values():
            if name in old and old[name]["skipped"]:
                del old[name]
        every.setdefault(place, {})[name] = row
        made[place] = {"versions": versions(), "peers": list(PINS)}
    return {
        "command": "python benchmarks/speed.py",
        "processors": {
            place: {**made[place], "rows": {name: old[name] for name in ROWS if name in old}}
            for place, old in every.items()
            if old
        },
    }


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table with a column for every processor, and where it was measured."""
    from inn_benchmarks.rows import ROWS, limit, number, verdict

    found = {place: of["rows"] for place, of in result["processors"].items()}
    lines = [
        f"| id | what is measured | limit | {' | '.join(found)} |",
        "| --- | --- | ---: |" + " ---: |" * len(found),
    ]
    for name in ROWS:
        every = [rows[name] for rows in found.values() if name in rows]
        if not every:
            continue
        row = every[0]
        threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
        sizes = f"; {row['sizes']}; {row['dtype']}, {threads}" if row["sizes"] else ""
        cells = [
            f"{number(rows[name]['ratio'], row['unit'])} {verdict(rows[name])}" if name in rows else ""
            for rows in found.values()
        ]
        lines.append(f"| `{name}` | {row['what']}{sizes} | {limit(row)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(line for rows in found.values() for line in places(rows))])


def places(rows: dict[str, Any]) -> list[str]:
    """One line for every PyTorch, commit and note that rows of one processor were measured with."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        if row["ratio"] is not None:
            m = row["machine"]
            parts = (m.get("gpu"), m["cpu"], m.get("instructions"), f"{m['cores']} cores")
            machine = ", ".join(str(part) for part in parts if part)
            note = f" ({row['note']})" if row.get("note") else ""
            place = f"{machine}, torch {row['torch']}, commit {row['commit'] or 'not known'}{note}"
            found.setdefault(place, []).append(f"`{name}`")
    if len(found) == 1:
        return [f"Measured on {place}." for place in found]
    return [f"Measured on {place}: {', '.join(names)}." for place, names in found.items()]


def profiled(kept: dict[str, Any], only: str | None, threads: int | None) -> dict[str, Any]:
    """The profiles with those of this processor anew: by processor, then by row."""
    from inn_benchmarks.command import parse, profiles

    argv = ["--profile", *(("--only", only) if only else ()), *(("--threads", str(threads)) if threads else ())]
    found = profiles(parse(argv))
    result = {place: dict(rows) for place, rows in kept.items()}
    for name, row in found.items():
        result.setdefault(row["machine"]["cpu"], {})[name] = row
    return result


def put(text: str, name: str, lines: str) -> str:
    """A page with a table in its place."""
    before, after = text.split(f"<!-- table: {name} -->\n")
    return f"{before}<!-- table: {name} -->\n{lines}\n{END}{after.split(END, 1)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows by id, separated by commas")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--add", type=Path, help="rows from a file that `inn bench --json` or gpu.sh wrote")
    parser.add_argument("--profile", action="store_true", help="where the time goes instead, into results/profile.json")
    parser.add_argument("--note", help="a word on the machine that the rows of this call keep, such as: loaded")
    parser.add_argument("--show", action="store_true", help="print the tables of the results files; measure nothing")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/speed.md too")
    args = parser.parse_args()
    kept, profiles = (json.loads(p.read_text()) if p.exists() else {} for p in (RESULTS, PROFILES))
    if not args.show:
        rows = added(json.loads(args.add.read_text())) if args.add else None
        os.chdir(ROOT)  # the plot of growth goes to results/
        if args.profile:
            profiles = profiled(profiles, args.only, args.threads)
            write(PROFILES, profiles)
        else:
            rows = rows if rows is not None else study(args.only, args.threads)
            kept = merged(kept, {name: {**row, "note": args.note} if args.note else row for name, row in rows.items()})
            write(RESULTS, kept)
    lines = table(kept) if kept else ""
    more = profile_page(profiles) if profiles else ""
    if args.page:
        page = ROOT / "docs" / "speed.md"
        text = put(page.read_text(), "speed", lines)
        page.write_text(put(text, "profile", more) if more else text)
    print(more if args.profile else lines)  # noqa: T201
    every = [row for of in kept.get("processors", {}).values() for row in of["rows"].values()]
    return int(any(row["error"] is not None for row in every))


def profile_page(profiles: dict[str, Any]) -> str:
    """The profiles as Markdown."""
    from inn_benchmarks.profile_table import page

    return page(profiles)


def write(path: Path, result: dict[str, Any]) -> None:
    """Keep a result."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
