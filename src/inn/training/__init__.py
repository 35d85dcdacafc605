"""Training: the loop, the optimiser and its schedule, the run directory, checkpoints that resume bit for bit."""

from inn.training.trainer import TrainingDiverged, train

__all__ = ["TrainingDiverged", "train"]
