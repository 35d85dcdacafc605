"""Training: the loop, the optimiser and its schedule, what is logged and kept."""
