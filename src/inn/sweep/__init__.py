"""Sweeps: a search, by Optuna, for the settings of a recipe that suit a text best."""
