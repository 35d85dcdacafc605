"""Tasks for EleutherAI's lm-evaluation-harness: bits per byte of the corpora, on any model that the harness loads.

The folder of this package is what `lm_eval --include_path` takes.
"""
