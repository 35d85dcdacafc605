"""An LSTM with exponential gates as the memory of a neuron (Beck et al. 2024, arXiv 2405.04517, section 2.2)."""

from __future__ import annotations

from inn.nn.memory.lstm import LSTM


class SLSTM(LSTM):
    """Gates that may grow without bound and a normaliser: what comes in can outweigh all that is there.

    State parts, each `[B, N, H]`: `h`, the cell `c`, the normaliser `n`, and the stabiliser `m`, the largest logarithm
    of a gate so far, relative to which `c` and `n` are kept.
    """

    cell = "slstm"
    parts = ("h", "c", "n", "m")
    main_part = "h"  # the size of c means something only beside n
