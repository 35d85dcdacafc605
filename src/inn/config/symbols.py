"""The options of how symbols enter and leave a model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from inn.config.checks import check_at_least
from inn.system.errors import InputError


@dataclass
class SymbolsConfig:
    """How symbols enter a model and how it predicts them, where there are many."""

    embedding_width: int | None = None
    """Width of the embedding, mapped linearly to the model's (and back by a tied head). Default: no map."""
    head: Literal["linear", "adaptive"] = "linear"
    """`adaptive`: smaller vectors for rarer symbols; needs symbols sorted by frequency, like words. Not tied."""
    cutoffs: list[int] | None = None
    """Cutoffs of the adaptive head, for example [2000,6000]; default: one and three fifths of the vocabulary."""

    def check_symbols(self, tied: bool) -> None:
        check_at_least(self, 1, "embedding_width")
        if self.head == "adaptive" and tied:
            raise InputError("head 'adaptive' has weights of its own and cannot be tied; set tied false")
        if self.cutoffs is not None and self.head != "adaptive":
            raise InputError(f"cutoffs belong to head 'adaptive', not '{self.head}'; set head adaptive, or no cutoffs")
        if self.cutoffs is not None and any(a >= b for a, b in pairwise([0, *self.cutoffs])):
            raise InputError(f"cutoffs must be above 0 and rise, unlike {self.cutoffs}")
        if self.cutoffs == []:
            raise InputError("cutoffs [] cut nothing; give at least one, or set head linear")

    def cuts(self, vocab: int) -> list[int]:
        """The adaptive head's cutoffs in a vocabulary of this size."""
        return self.cutoffs or [vocab // 5, 3 * vocab // 5]
