"""PPMd and zpaq as rivals: what they make of a study's texts, after the very text that its models were trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from inn.inference.floors import compressors
from inn.system.errors import InputError
from inn_studies.lab import Lab
from inn_studies.study import Study

NAMES = ("PPMd", "zpaq -m5")
SPELT = (
    "PPMd and zpaq spell the words letter by letter and are not told which 10,000 there are; what they need for the "
    "text is given as the perplexity per word that it comes to."
)
Case = dict[str, Any]
"""A text: `data`, how training reads it; `read`, symbols that it reads; `limits`, symbols by part (None: all)."""


def case(row: Mapping[str, Any], limits: Mapping[str, int | None], read: int | None = None) -> Case:
    """The text of a row of a result, which has `config` and `symbols`."""
    return {"data": row["config"]["data"], "read": row["symbols"] if read is None else read, "limits": dict(limits)}


def scored(row: Mapping[str, Any]) -> Case:
    """The text of a row that says how much of each part was scored, all but the first symbol of each."""
    return case(row, {part: count + 1 for part, count in row["scored"].items() if count})


def validated(row: Mapping[str, Any]) -> Case:
    """The text of a row that was scored by what training validates on."""
    return case(row, {"valid": row["config"]["train"]["eval_symbols"] or None})


def compressed(data: dict[str, Any], read: int, limits: dict[str, int | None]) -> dict[str, Any]:
    """Bits that each part of a text takes, by compressor and part (for `Lab.compute`)."""
    from inn.config.run import DataConfig
    from inn.data.prepare import prepare
    from inn.data.size import size_of
    from inn.inference import held_out

    config = DataConfig(**data)
    dataset = prepare(config)
    parts = {part: dataset.split(part)[:limit] for part, limit in limits.items()}
    return {
        "data_sha256": dataset.sha256,
        "programs": {name: about for name, about in compressors().items() if name in NAMES},
        "symbols": {part: len(symbols) for part, symbols in parts.items()},
        "words": {part: size_of([dataset.vocabulary.decode_bytes(of)]).words for part, of in parts.items()},
        "bits": held_out.compressed(dataset, config, read, parts, NAMES),
    }


def measure(lab: Lab, cases: Iterable[Case]) -> list[dict[str, Any]]:
    """What the compressors that are on this machine make of texts: the cases with what was found, and the commit."""
    named = {f"{c['data']['corpus']}, {c['data']['vocabulary']}, {c['read']:,}": c for c in cases}
    found = lab.compute(compressed, named)
    return [{**named[name], **found[name]} for name in named]


def added(result: dict[str, Any], study: Study, lab: Lab) -> dict[str, Any]:
    """A study's result with what compressors make of its texts."""
    cases = study.readings(result)
    return {**result, "compressors": measure(lab, cases)} if cases else result


def check() -> None:
    """Raise `InputError` where a compressor is not on this machine."""
    if missing := [name for name in NAMES if name not in compressors()]:
        raise InputError(
            f"{' and '.join(missing)} cannot be found; pip install 'inn-torch[compressors]' brings PPMd, "
            "apt-get install zpaq the other"
        )


def bits(
    result: Mapping[str, Any],
    part: str,
    per: Literal["symbols", "words"] = "symbols",
    corpus: str | None = None,
    read: int | None = None,
) -> dict[str, float]:
    """Bits per symbol, or word, of a part by compressor; of the result's only text, or of that corpus after `read`.

    Empty where none was measured: no compressor was there, or nobody has asked yet.
    """
    for text in result.get("compressors", ()):
        if corpus in (None, text["data"]["corpus"]) and read in (None, text["read"]):
            return {name: parts[part] / text[per][part] for name, parts in text["bits"].items() if part in parts}
    return {}


def origin(study: Study, result: Mapping[str, Any]) -> str:
    """Command, commit, programs and text of what was measured, as a sentence; empty where nothing was."""
    found = result.get("compressors") or [{"programs": {}}]
    programs = "; ".join(found[0]["programs"].values())
    texts = ", ".join(sorted({f"{text['data']['corpus']} {text['data_sha256'][:12]}" for text in found if programs}))
    commits = ", ".join(sorted({str(text["commit"]) for text in found if programs}))
    return programs and f" Compressors: `inn study {study.name} --floors`, commit {commits}; {programs}; {texts}."


def note(result: Mapping[str, Any]) -> str:
    """A sentence for studies whose tables have no row for them; empty where nothing was measured."""
    said = []
    for text in result.get("compressors", ()):
        for part, count in text["symbols"].items():
            each = ", ".join(f"{name} {parts[part] / count:.3f}" for name, parts in text["bits"].items())
            said.append(f"after {text['read']:,} symbols, on the first {count:,} of {part}: {each}")
    return (
        f"For comparison, compressors that read the same text, in bits per symbol: {'; '.join(said)}." if said else ""
    )
