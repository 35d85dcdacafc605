"""Tasks for EleutherAI's lm-evaluation-harness: bits per byte of the corpora, for any model it loads.

The folder of this package is what `lm_eval --include_path` takes.
"""
