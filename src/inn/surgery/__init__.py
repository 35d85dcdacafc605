"""Changing a trained graph: collapse identical neurons, share what neurons read, make a population of a Mamba."""
