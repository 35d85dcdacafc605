"""Objectives: what a training step minimises. The kinds are in `inn.registry.OBJECTIVES`."""
