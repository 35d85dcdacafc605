"""Table 4: every model on the characters of WikiText-2."""

from __future__ import annotations

from dataclasses import replace

from inn_studies.comparison import Comparison
from inn_studies.paper import TABLE_4
from inn_studies.sizes import SHALLOW, TEXT8, Size, published

_CPU = {
    "data.corpus": "wikitext2", "train.symbols": 1_000_000, "train.eval_every": 61, "train.eval_symbols": 200_000,
}  # fmt: skip

SIZES = {
    "smoke": replace(TEXT8["smoke"], rates=(3e-3,)),
    "cpu": replace(
        TEXT8["cpu"],
        settings={**TEXT8["cpu"].settings, **_CPU},
        models={  # about 467,000 parameters each, with the embedding of 283 characters
            "lstm": {"kind": "lstm", "width": 154},
            SHALLOW: {"kind": "lstm", "width": 208, "layers": 1},
            "transformer-paper": {"kind": "transformer-paper", "hidden": 376},
            "transformer": {"kind": "transformer", "hidden": 256},
            "mamba-stack": {"kind": "mamba-stack", "width": 122},
            "inn": {"kind": "inn", "neurons": 8, "width": 18, "rounds": 4},
            "inn-paper-fixed": published(neurons=4, width=112, rounds=3),
        },
    ),
    "gpu": Size(
        "wikitext2",
        rates=(4e-4, 1e-3, 2e-3, 4e-3),
        seeds=3,
        scored=None,
        models={
            SHALLOW: {"kind": "lstm", "width": 690, "layers": 1},
            "inn-paper-fixed": {"kind": "inn", "preset": "paper-fixed"},
        },
    ),
}
"""Equal parameters: 0.47 M and 1 M characters on a CPU; the recipe's 4.2 M and three passes on a GPU."""


class WikiText2(Comparison):
    name = "wikitext2"
    source = "Table 4"
    question = "Who predicts the characters of WikiText-2 best at equal parameters and equal symbols?"
    paper = TABLE_4
    place = "Table 4"

    def sizes(self) -> dict[str, Size]:
        return SIZES
