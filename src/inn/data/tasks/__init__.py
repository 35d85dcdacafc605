"""Tasks: data made from a seed, or read from files, with the targets that count and a metric.

The kinds are in `inn.registry.TASKS`; each is one file.
"""
