"""A profile as text: 80 columns for a terminal, a Markdown table for the page of speed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from inn_benchmarks.profile import PHASES

LEAST = 0.01
"""Share of a step below which an operator is among the others."""
GROUPS = {
    "products": ("mm", "addmm", "bmm", "baddbmm", "neuron_linear"),
    "scan": ("selective_scan", "recurrence"),
    "convolution": ("causal_conv",),
    "attention": ("neuron_attention",),
    "norms": ("neuron_norm", "native_layer_norm", "layer_norm"),
    "one step of a memory": ("memory_step",),
}
"""What operators are for, by the beginning of their names; the rest is elementwise, copies and lookups."""
REST, BETWEEN = "the rest", "between them"


def text(row: str, found: Mapping[str, Any]) -> str:
    """The table of one row: share of the step by phase and operator, the bound's share, and bound over time."""
    step, ops = found["step"], found["ops"]
    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    machine = found["machine"]
    lines = [
        f"{row}: {1000 * step:.1f} ms, of which the bounds are {sum(o['bound'] for o in ops) / step:.2f}",
        *_wrapped(f"{found['sizes']}; {found['dtype']}, {threads}, {found['clock']}"),
        *_wrapped(f"{machine['cpu']}, {machine['instructions']}: {_rates(found['rates'])}"),
        "",
        f"{'':9}{'operator':31}{'calls':>6}{'share':>7}{'bound':>7}{'/time':>6}  by",
    ]
    for phase in PHASES:
        own = [o for o in ops if o["phase"] == phase]
        if not own:
            continue
        lines.append(_line(phase, "", own, step))
        small = []
        for name, of in _by(own, lambda o: o["op"].partition("::")[2]).items():
            if sum(o["seconds"] for o in of) < LEAST * step:
                small += of
            else:
                lines.append(_line("", name, of, step))
        if small:
            lines.append(_line("", "others", small, step))
    between = 1 - sum(o["seconds"] for o in ops) / step
    lines.append(f"{BETWEEN:46}{between:7.3f}")
    lines += ["", "furthest from their bounds"]
    for o in sorted(ops, key=lambda o: o["bound"] - o["seconds"])[:5]:
        lines.append(_line("", o["op"].partition("::")[2], [o], step))
        lines.append(f"{'':11}{o['shapes']}"[:80])
    return "\n".join(lines)


def _line(phase: str, name: str, ops: list[Any], step: float) -> str:
    seconds, bound = (sum(o[key] for o in ops) for key in ("seconds", "bound"))
    by = max(ops, key=lambda o: o["bound"])["by"] if name else ""
    calls = sum(o["calls"] for o in ops)
    ratio = bound / max(seconds, 1e-12)
    return f"{phase:9}{name:31}{calls:6}{seconds / step:7.3f}{bound / step:7.3f}{ratio:6.2f}  {by}".rstrip()


def _by(ops: list[Any], key: Any) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for o in ops:
        groups[key(o)].append(o)
    return dict(sorted(groups.items(), key=lambda item: -sum(o["seconds"] for o in item[1])))


def _rates(rates: Mapping[str, Any]) -> str:
    products = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates["products"].items())
    copies = list(rates["copies"].values())
    return (
        f"products {products} GFLOP/s, exponentials {rates['exponentials'] / 1e9:.1f} G/s, "
        f"copies {max(copies) / 1e9:.0f} GB/s in the caches, {copies[-1] / 1e9:.0f} in memory"
    )


def _wrapped(line: str) -> list[str]:
    return wrap(line, 80, break_long_words=False, break_on_hyphens=False)


def shares(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Share of the step, and of its bound, by what operators are for."""
    step, total = found["step"], dict.fromkeys((*GROUPS, REST), (0.0, 0.0))
    for o in found["ops"]:
        name = o["op"].partition("::")[2]
        group = next((g for g, starts in GROUPS.items() if name.startswith(starts)), REST)
        time, bound = total[group]
        total[group] = (time + o["seconds"] / step, bound + o["bound"] / step)
    return {**total, BETWEEN: (1 - sum(time for time, _ in total.values()), 0.0)}


def page(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """All profiles as Markdown: one table for every processor, a column for every row of the benchmark."""
    parts = []
    for processor, rows in profiles.items():
        columns = {name: shares(found) for name, found in rows.items()}
        lines = [f"| {processor} | {' | '.join(f'`{name}`' for name in rows)} |", "| --- |" + " ---: |" * len(rows)]
        for group in (*GROUPS, REST, BETWEEN):
            cells = [columns[name][group] for name in rows]
            if any(time >= 0.005 for time, _ in cells):
                shown = (f"{time:.2f} ({bound:.2f})" if bound else f"{time:.2f}" for time, bound in cells)
                lines.append(f"| {group} | {' | '.join(shown)} |")
        threads = {found["threads"] for found in rows.values()}
        lines += ["", f"Threads: {', '.join(map(str, sorted(threads)))}; {_rates(next(iter(rows.values()))['rates'])}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
