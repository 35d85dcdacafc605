"""What the neurons do: recordings, and pure functions from recordings to tables."""

from inn.analysis.activity import relative, sparsity
from inn.analysis.communities import agreement, communities
from inn.analysis.degree import effective_degree, received, thresholded_degree
from inn.analysis.effective import effective_neurons, measure_effective_neurons
from inn.analysis.lesion import silenced
from inn.analysis.matching import Matching, match, same_roles
from inn.analysis.record import record
from inn.analysis.shuffle import Null, relabelled, shuffled_identities
from inn.analysis.similarity import cka
from inn.analysis.stability import stability
from inn.analysis.trace import Trace, trace
from inn.tape import Connectivity, Tape

__all__ = [
    "Connectivity",
    "Matching",
    "Null",
    "Tape",
    "Trace",
    "agreement",
    "cka",
    "communities",
    "effective_degree",
    "effective_neurons",
    "match",
    "measure_effective_neurons",
    "received",
    "record",
    "relabelled",
    "relative",
    "same_roles",
    "shuffled_identities",
    "silenced",
    "sparsity",
    "stability",
    "thresholded_degree",
    "trace",
]
