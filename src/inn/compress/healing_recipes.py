"""Recipes of healing: what is compared, how long, and how fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A part of a recipe.

    Attributes:
        match: what is compared with the dense model's: `blocks`, `layers` or `logits`, see
            `inn.compress.healing_losses.Matches`.
        rate: Adam's.
        share: of the time.
        steady: keep the rate. Else it is that over the model's width, as the best rate of Adam goes (arXiv 2203.03466),
            or a third or a ninth of it, whichever a few steps on the rows that are held out favour; at its highest: it
            rises over the first tenth of the stage and falls to zero.
    """

    match: str
    rate: float = 0.04
    share: float = 1.0
    steady: bool = False


RECIPES: dict[str, tuple[Stage, ...]] = {
    "distil": (Stage("logits"),),
    "layers-first": (Stage("layers", share=0.2), Stage("logits", share=0.8)),
    "ngc": (Stage("blocks", 2e-6, steady=True),),
}
"""Recipes by name. `layers-first` is the usual order; `inn study ngc-stories` compares them. `ngc` is that of the
*Neuronal Group Communication* authors' released code: Adam on the states alone, a row a step, and before every pass
through the text one step on the weights themselves."""
