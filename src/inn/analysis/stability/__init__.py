"""Stability in time and depth of any causal model: how a perturbation decays or grows."""
