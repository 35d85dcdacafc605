"""The numbers of the INN paper (arXiv 2511.22813), as printed, by table: what our own are set beside."""

from __future__ import annotations

TABLE_2 = {"lstm": 1.682, "transformer-paper": 2.055, "mamba-stack": 3.438, "inn-paper": 1.705}
"""text8, bits per character after one pass over 90 M characters."""

TABLE_3 = {"full": 1.705, "mamba-stack": 3.438, "no communication": 1.998, "static communication": 2.085}
"""text8 ablation at 20 M characters, bits per character (the published logs: of the training text)."""

TABLE_4 = {"transformer-paper": 3.49, "lstm": 3.57, "inn-paper": 3.61}
"""WikiText-2, characters, validation perplexity."""

TABLE_5 = {"lstm": 165.55, "inn-paper": 207.20, "transformer-paper": 210.45}
"""Penn Treebank, words, validation perplexity."""

TABLE_6 = {
    (0.1, 1e-5): 228.4, (0.1, 1e-4): 221.7, (0.3, 1e-5): 215.3,
    (0.3, 0.1): 207.2, (0.5, 1e-4): 212.8, (0.5, 0.1): 209.5,
}  # fmt: skip
"""Penn Treebank, words: validation perplexity by (dropout, weight decay)."""

TABLE_7 = {"lstm": 1.0, "transformer-paper": 1.25, "inn-paper": 1.5}
"""Time of an epoch against the LSTM's (the text beside it says 50 times slower, the published logs say 34)."""

ACTIVITY = {"mean_low": 0.31, "mean_high": 0.68, "sparse_share": 0.30}
"""Appendix A.2: the neurons' mean activity, lowest and highest; share of neuron-token pairs below 0.1."""

DEGREE = {1: 12.3, 4: 7.8}
"""Appendix A.3: average degree by round (from 1); hubs receive > 1.5 x, specialists < 0.6 x the mean attention."""

HUBS = {"hubs": 3, "specialists": 3, "neurons": 32}
"""Appendix A.3: neurons named as hubs and as specialists, of how many."""

GAP_PERPLEXITY = 0.7
"""Section 3.4, WikiText-2 characters: the INN's gap between training and held-out perplexity, "constant"."""
