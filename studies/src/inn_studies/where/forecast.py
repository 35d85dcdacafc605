"""`forecast`: the next hour of two transformers, from all that was measured before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from inn_studies.tasks.files import data_file
from inn_studies.where.harness import Track
from inn_studies.where.row import Answer, Row, Scale

FOLDER = Path("runs/studies/data")
"""Where the tables are copied to, so that no run names a folder of this machine."""


def table(name: str) -> Path:
    """The path of a table of the folder of data, copied."""
    source, path = data_file(f"series/{name}.csv.xz"), FOLDER / f"{name}.csv.xz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    return path


OPTIONS = {"time": "date", "length": 96, "split": "[0.6,0.2,0.2]"}
"""Windows of 96 hours, of the usual shares of the table."""


class Forecast(Row):
    """One-step forecasts of ETTh1 and ETTh2: seven channels, hour by hour."""

    name = "forecast"
    question = "Electricity transformers ETTh1 and ETTh2: how far off is the next hour of seven channels?"
    bar = "ahead of every other model outside the interval"
    score = "root of the mean squared error"
    share, higher = False, False
    baseline = "last value"

    def tracks(self, scale: Scale) -> list[Track]:
        return [
            Track(name, f"csv:{table(name)}", scale.of(2, 600), scale.of(8, 32), OPTIONS)
            for name in ("ETTh1", "ETTh2")[: scale.of(1, 2)]
        ]

    def judge(self, result: dict[str, Any]) -> Answer:
        return self.lead(result)
