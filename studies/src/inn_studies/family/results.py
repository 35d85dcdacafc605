"""`results/family.json`: what was measured of every entry, by number and scale."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inn.system.errors import InputError
from inn.system.files import check_writable, replace_file
from inn_studies.family import ENTRIES, in_order, open_entry
from inn_studies.family.entry import SCALES
from inn_studies.results import check_scales, finish, read_file

FILE = "family.json"
Kept = dict[str, dict[str, dict[str, Any]]]


def read(folder: Path) -> Kept:
    """What is kept, by number and scale; raises `InputError` where the file is no results file of this study."""

    def check(kept: Kept) -> None:
        for number, scales in kept.items():
            check_scales(scales, f"entry {number} at ")

    return read_file(folder / FILE, "inn study family", check)


def write(folder: Path, number: int | str, entry: dict[str, Any]) -> Path:
    """Put one entry at one scale into the file; all others stay as they are, also those written meanwhile."""
    check_writable(folder)
    path = folder / FILE
    kept = read(folder)
    kept.setdefault(str(number), {})[entry["scale"]] = entry
    ordered = {n: kept[n] for n in map(str, in_order(kept))}
    replace_file(path, json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    finish(f"family-{number}", folder, entry["scale"])
    return path


def measured(folder: Path) -> dict[int | str, dict[str, Any]]:
    """The entries that have something, each at its largest scale."""
    kept = read(folder)
    return {n: kept[str(n)][s] for n in in_order(ENTRIES) if str(n) in kept for s in _largest(kept[str(n)])}


def entries(folder: Path, numbers: Iterable[int | str], scale: str | None = None) -> dict[int | str, dict[str, Any]]:
    """What was measured of entries, at a scale or at the largest; raises `InputError` where one has nothing."""
    kept, found = read(folder), {}
    for number in numbers:
        of = kept.get(str(number), {})
        chosen = _largest(of) if scale is None else [scale] if scale in of else []
        if not chosen:
            raise InputError(
                f"'{folder / FILE}' has no such results of entry {number}; run {open_entry(number).command}"
            )
        found[number] = of[chosen[0]]
    return found


def _largest(scales: dict[str, Any]) -> list[str]:
    return [scale for scale in reversed(SCALES) if scale in scales][:1]
