"""What the neurons do: recordings, and pure functions from recordings to tables."""

from inn.analysis.activity import relative, sparsity
from inn.analysis.degree import effective_degree, received, thresholded_degree
from inn.analysis.effective import effective_neurons, measure_effective_neurons
from inn.analysis.lesion import silenced
from inn.analysis.record import record
from inn.analysis.shuffle import Null, relabelled, shuffled_identities
from inn.analysis.trace import Trace, trace
from inn.tape import Connectivity, Tape

__all__ = [
    "Connectivity",
    "Null",
    "Tape",
    "Trace",
    "effective_degree",
    "effective_neurons",
    "measure_effective_neurons",
    "received",
    "record",
    "relabelled",
    "relative",
    "shuffled_identities",
    "silenced",
    "sparsity",
    "thresholded_degree",
    "trace",
]
