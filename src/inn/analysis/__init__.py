"""What the neurons do: recordings, lesions, and pure functions from recordings to tables."""

from inn.analysis.activity import relative, sparsity
from inn.analysis.cause import Cost, bits_under, cost
from inn.analysis.classes import symbol_classes
from inn.analysis.communities import agreement, communities
from inn.analysis.contexts import Context, Contexts
from inn.analysis.degree import effective_degree, received, thresholded_degree
from inn.analysis.effective import effective_neurons, measure_effective_neurons
from inn.analysis.importance import Importance, importance
from inn.analysis.information import Information, information
from inn.analysis.lead import Lead, lead
from inn.analysis.lens import Lens, logit_lens
from inn.analysis.lesion import averaging, cut, forgetful, mean_replaced, silenced, skipped
from inn.analysis.matching import Matching, match, same_roles
from inn.analysis.patch import Patch, patch, transplanted
from inn.analysis.record import record
from inn.analysis.shuffle import Null, relabelled, shuffled_identities
from inn.analysis.similarity import cka
from inn.analysis.stability import stability
from inn.analysis.survey import survey
from inn.analysis.timescale import decay, half_life, half_lives, time_constants
from inn.analysis.trace import Trace, trace
from inn.tape import Connectivity, Tape

__all__ = [
    "Connectivity",
    "Context",
    "Contexts",
    "Cost",
    "Importance",
    "Information",
    "Lead",
    "Lens",
    "Matching",
    "Null",
    "Patch",
    "Tape",
    "Trace",
    "agreement",
    "averaging",
    "bits_under",
    "cka",
    "communities",
    "cost",
    "cut",
    "decay",
    "effective_degree",
    "effective_neurons",
    "forgetful",
    "half_life",
    "half_lives",
    "importance",
    "information",
    "lead",
    "logit_lens",
    "match",
    "mean_replaced",
    "measure_effective_neurons",
    "patch",
    "received",
    "record",
    "relabelled",
    "relative",
    "same_roles",
    "shuffled_identities",
    "silenced",
    "skipped",
    "sparsity",
    "stability",
    "survey",
    "symbol_classes",
    "thresholded_degree",
    "time_constants",
    "trace",
    "transplanted",
]
