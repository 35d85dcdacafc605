"""Measures: roles, communities, what a neuron encodes and for how long."""
