"""Table 5: every model on the words of the Penn Treebank; and on its characters, which the paper does not show."""

from __future__ import annotations

from dataclasses import replace

from inn_studies.comparison import Comparison
from inn_studies.paper import TABLE_5
from inn_studies.sizes import POST_NORM, SHALLOW, TEXT8, Size, published

_QUIET = {"train.sample_every": 0, "train.checkpoint_every": 1_000_000}

WORDS = {
    "smoke": replace(
        TEXT8["smoke"],
        rates=(3e-3,),
        settings={**TEXT8["smoke"].settings, "data.vocabulary": "words"},
    ),
    "cpu": Size(
        "ptb",
        {**_QUIET, "train.symbols": 929_589, "train.eval_every": 227, "train.weight_decay": 0.01},
        rates_of=POST_NORM,
        seeds=3,
        scored=None,
        models={  # about 1.12 million parameters each, most of them the embedding
            "lstm": {"kind": "lstm", "width": 96, "dropout": 0.0},
            SHALLOW: {"kind": "lstm", "width": 102, "layers": 1, "dropout": 0.0},
            "transformer-paper": {"kind": "transformer-paper", "width": 96, "hidden": 200, "dropout": 0.0},
            "transformer": {"kind": "transformer", "width": 96, "hidden": 152, "dropout": 0.0},
            "mamba-stack": {"kind": "mamba-stack", "width": 92, "dropout": 0.0},
            "inn": {"kind": "inn", "neurons": 4, "width": 21, "dropout": 0.0},
            "inn-paper-fixed": published(neurons=4, width=92, rounds=2, dropout=0.0),
        },
    ),
    "gpu": Size(
        "ptb",
        rates=(4e-4, 1e-3, 2e-3, 4e-3),
        seeds=3,
        scored=None,
        models={
            SHALLOW: {"kind": "lstm", "width": 240, "layers": 1, "dropout": 0.4},
            "inn-paper-fixed": published(neurons=32, width=208, rounds=2, dropout=0.3),
        },
    ),
}
"""Equal parameters: 1.1 M and one pass without dropout on a CPU; the recipe's 2.9 M and twenty passes on a GPU."""

_CHARACTERS = {"data.corpus": "ptb", "train.symbols": 1_000_000, "train.eval_every": 61}

CHARACTERS = {
    "smoke": WORDS["smoke"].but(data_vocabulary="characters"),
    "cpu": replace(
        TEXT8["cpu"],
        settings={**TEXT8["cpu"].settings, **_CHARACTERS},
        models={
            SHALLOW: {"kind": "lstm", "width": 236, "layers": 1},
            "inn-paper-fixed": published(neurons=4, width=116, rounds=3),
        },
    ),
    "gpu": Size(
        "text8",
        {"data.corpus": "ptb", "train.symbols": 15_000_000, "train.eval_every": 200},
        rates=(4e-4, 1e-3, 2e-3, 4e-3),
        seeds=3,
        scored=None,
        models={
            SHALLOW: {"kind": "lstm", "width": 700, "layers": 1},
            "inn-paper-fixed": {"kind": "inn", "preset": "paper-fixed"},
        },
    ),
}
"""Equal parameters: 0.47 M and 1 M characters on a CPU; 4 M and three passes on a GPU."""


class Ptb(Comparison):
    name = "ptb"
    source = "Table 5"
    question = "Who predicts the words of the Penn Treebank best at equal parameters and equal symbols?"
    paper = TABLE_5
    place = "Table 5"
    digits = 1

    def sizes(self) -> dict[str, Size]:
        return WORDS


class PtbCharacters(Comparison):
    name = "ptb-characters"
    source = "beside Table 5"
    question = "And its characters: is it the words that the graph is behind on, or the text?"

    def sizes(self) -> dict[str, Size]:
        return CHARACTERS
