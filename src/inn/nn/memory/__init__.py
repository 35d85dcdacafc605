"""Memories: what a neuron carries over time; one file per kind, one protocol (`inn.Memory`)."""
