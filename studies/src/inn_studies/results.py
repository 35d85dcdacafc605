"""The committed results: one JSON file per study, one entry per scale, with what made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inn.system import provenance
from inn.system.errors import InputError
from inn.system.files import check_writable, replace_file, write_figure
from inn.system.packages import optional
from inn_studies import compressors
from inn_studies.lab import Lab
from inn_studies.study import Study, Verdict

ENTRY = ("command", "scale", "seeds", "commit", "hardware", "versions", "result")
"""What is kept of a study at a scale."""


def conduct(study: Study, scale: str, lab: Lab, seeds: int | None = None) -> dict[str, Any]:
    """Run a study at a scale and return what its results file keeps of it."""
    import torch

    size = study.sizes()[scale]
    count = seeds or size.seeds
    found = compressors.added(study.run(lab, size, count), study, lab)
    return {
        "command": f"{study.command} --scale {scale} --seeds {count}",
        "scale": scale,
        "seeds": count,
        "commit": provenance.commit(),
        "hardware": provenance.hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "versions": provenance.versions(),
        "result": found,
    }


def path_of(study: Study, folder: Path) -> Path:
    """The study's results file."""
    return folder / f"{study.name}.json"


def unfinished(name: str, folder: Path, scale: str) -> Path | None:
    """The file of what was computed of a study that takes hours, until it is whole; None at the smaller scales."""
    return folder / f"{name}.part.jsonl" if scale == "cpu" else None


def finish(name: str, folder: Path, scale: str) -> None:
    """Remove that file: the study is whole."""
    if (part := unfinished(name, folder, scale)) is not None:
        part.unlink(missing_ok=True)


def read(study: Study, folder: Path) -> dict[str, dict[str, Any]]:
    """What is kept of a study, by scale; empty where nothing is.

    Raises `InputError` where the file is no results file.
    """
    return read_file(path_of(study, folder), "a study", check_scales)


def read_file(path: Path, of: str, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What a results file holds, empty where there is none; `InputError` where it is none `of` what is in words.

    Args:
        check: raises `ValueError` for what is not complete.
    """
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        check(kept)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"'{path}' is not a results file of {of} ({error}); restore it, or run the study again"
        ) from error
    return kept


def check_scales(kept: dict[str, Any], of: str = "") -> None:
    """Raise `ValueError` where an entry, by scale, lacks something; `of` says in words whose it is."""
    for scale, entry in kept.items():
        if missing := [name for name in ENTRY if name not in dict(entry)]:
            raise ValueError(f"{of}scale '{scale}' has no {missing[0]}")


def tell(study: Study, entry: dict[str, Any]) -> tuple[str, list[Verdict]]:
    """A study's table and verdicts; raises `InputError` where the entry is not what this version's study writes."""
    try:
        note = "" if study.compressor_rows else compressors.note(entry["result"])
        table = "\n\n".join(filter(None, [study.table(entry["result"]), note]))
        return table, study.verdicts(entry["result"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"the kept result of study '{study.name}' at scale {entry['scale']} was changed, or is another version's "
            f"({type(error).__name__}: {error}); run it again: {entry['command']}"
        ) from error


def check(study: Study, folder: Path) -> None:
    """Raise `InputError` where `write` would in the end, before hours are spent."""
    read(study, folder)
    check_writable(folder)


def write(study: Study, folder: Path, entry: dict[str, Any]) -> Path:
    """Put one scale's entry into the study's results file, and its figure beside it; returns the file."""
    kept = read(study, folder)
    kept[entry["scale"]] = entry
    path = path_of(study, folder)
    check_writable(folder)
    replace_file(path, json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    draw(study, entry, path.with_suffix(".png"))
    finish(study.name, folder, entry["scale"])
    return path


def draw(study: Study, entry: dict[str, Any], path: Path) -> bool:
    """Draw a study's figure; False where it has none, or where matplotlib is not installed."""
    matplotlib = optional("matplotlib.figure")
    if matplotlib is None:
        return False
    figure = matplotlib.Figure(figsize=(8, 4.5), layout="constrained")
    if not study.draw(entry["result"], figure):
        return False
    write_figure(figure, path, dpi=110, metadata={"Software": None})
    return True


def largest(kept: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The entry of the largest scale that was run."""
    return next((kept[scale] for scale in ("gpu", "cpu", "smoke") if scale in kept), None)
