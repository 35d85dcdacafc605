"""Let a mixture ask few neurons, so that the others can be taken out."""

from __future__ import annotations

from inn.config.run import TrainConfig
from inn.nn.routing.mixture import mixtures_of
from inn.training.objectives.base import Context
from inn.training.objectives.options import ConcentrateOptions
from inn.training.objectives.predict import Predict


class Concentrate(Predict):
    """Predict, and `entropy` times H(e) of every router `mixture`: the entropy of who is asked, in nats.

    It takes the place of what the router itself adds (its option `loss`). Few neurons come to be asked, and `inn.keep`
    of these loses little. After *ModuleFormer*, arXiv 2306.04640.
    """

    Options = ConcentrateOptions

    def __init__(self, options: ConcentrateOptions, context: Context, config: TrainConfig):
        super().__init__(options, context, config)
        for router in mixtures_of(self.model):
            router.concentrate(options.entropy)
