"""Sweeps: the settings of a recipe that suit a text best, searched for by Optuna."""
