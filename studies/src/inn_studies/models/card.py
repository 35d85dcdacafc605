"""The card of a trained model, made of its folder alone, so that a test can hold it to be up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inn.runs.card import SETTINGS, card_rows, filled
from inn.runs.directory import Run
from inn.runs.load import load
from inn.system.parse import read_json
from inn_studies.models import Trained

MEASURED = "measured.json"
_CARD = (
    """---
library_name: inn-torch
tags: [inn, recurrent, graph-of-neurons]
---

# {name}

{what}

```sh
{uses}
```

| | |
| --- | --- |
{table}

The weights are stored in 8 bits, a scale for each row.

## Data and licence

{data}

{licence}

## {unit}

{measured}

## What it is not

{is_not}
"""
    + SETTINGS
)


def card(trained: Trained, folder: Path) -> str:
    """The text of the card of a model whose folder is written and measured."""
    model, measured = load(folder), read_json(folder / MEASURED)
    return filled(
        _CARD,
        model,
        card_rows(model, Run(folder)),
        name=trained.name,
        what=trained.what,
        uses="\n".join(trained.uses),
        data=trained.data,
        licence=trained.licence,
        unit=measured["unit"][:1].upper() + measured["unit"][1:],
        measured=table(measured),
        is_not="\n".join(f"- {line}" for line in trained.is_not),
    )


def table(measured: dict[str, Any]) -> str:
    """Numbers by row and column.

    >>> print(table({"columns": ["a", "b"], "rows": {"8 bits": [0.5, 1.25]}}))
    | | a | b |
    | --- | ---: | ---: |
    | 8 bits | 0.500 | 1.250 |
    """
    columns = measured["columns"]
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for label, numbers in measured["rows"].items():
        lines.append(f"| {label} | {' | '.join(f'{number:.3f}' for number in numbers)} |")
    return "\n".join(lines)
