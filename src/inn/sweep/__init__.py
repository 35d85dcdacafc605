"""Sweeps: the settings of a recipe that suit a text best, searched for by Optuna."""

from inn.sweep.search import load_optuna, open_study
from inn.sweep.space import Choice, Range, Space, read_space
from inn.sweep.work import Plan, plan_sweep, run_sweep

__all__ = ["Choice", "Plan", "Range", "Space", "load_optuna", "open_study", "plan_sweep", "read_space", "run_sweep"]
