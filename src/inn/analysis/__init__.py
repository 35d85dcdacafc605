"""What the neurons do: recordings, lesions, and functions from recordings to tables."""

from inn.analysis.comparison.matching import Matching, match, same_roles
from inn.analysis.comparison.rsa import Likeness, Point, pseudo_depth, rsa, rsa_curve
from inn.analysis.controls.paired import PairedDifference, paired_difference
from inn.analysis.controls.shuffle import Null, relabelled, shuffled_identities, shuffled_sources
from inn.analysis.dynamics.fixed import FixedPoints, fixed_points, spectra
from inn.analysis.dynamics.rollout import Rollout, rollout
from inn.analysis.lesions.cause import LesionCost, bits_under, cost
from inn.analysis.lesions.importance import Importance, importance
from inn.analysis.lesions.kept import kept
from inn.analysis.lesions.lesion import averaging, cut, forgetful, mean_replaced, silenced, skipped
from inn.analysis.lesions.patch import Patch, patch, transplanted
from inn.analysis.measures.activity import relative, sparsity
from inn.analysis.measures.classes import symbol_classes
from inn.analysis.measures.communities import agreement, communities, normalised_information
from inn.analysis.measures.contexts import Context, Contexts
from inn.analysis.measures.degree import effective_degree, received, thresholded_degree
from inn.analysis.measures.effective import effective_neurons, measure_effective_neurons
from inn.analysis.measures.hyperactive import hyperactive
from inn.analysis.measures.impulse import ImpulseResponse, impulse_response
from inn.analysis.measures.information import Information, information
from inn.analysis.measures.lens import Lens, logit_lens
from inn.analysis.measures.overlap import Overlap, overlap
from inn.analysis.measures.similarity import cka
from inn.analysis.measures.skills import Localisation, Skills, skills
from inn.analysis.measures.specialisation import Specialisation, specialisation
from inn.analysis.measures.timescale import decay, half_life, half_lives, time_constants
from inn.analysis.measures.topology import topology
from inn.analysis.measures.wiring import Wiring, edge_sizes, wiring
from inn.analysis.mechanisms.basis import Basis, interaction_basis
from inn.analysis.mechanisms.spectrum import Phases, ipr, phases
from inn.analysis.mechanisms.subnetwork import Subnetwork, subnetwork
from inn.analysis.mechanisms.targets import Target, bigram
from inn.analysis.recording.record import record
from inn.analysis.recording.trace import Trace, trace
from inn.analysis.rules.automaton import Automaton, automaton
from inn.analysis.rules.counting import automaton_of
from inn.analysis.rules.explain import Explanation, Rule, explain
from inn.nn.connectivity import Connectivity
from inn.nn.tape import Tape

__all__ = [
    "Automaton",
    "Basis",
    "Connectivity",
    "Context",
    "Contexts",
    "Explanation",
    "FixedPoints",
    "Importance",
    "ImpulseResponse",
    "Information",
    "Lens",
    "LesionCost",
    "Likeness",
    "Localisation",
    "Matching",
    "Null",
    "Overlap",
    "PairedDifference",
    "Patch",
    "Phases",
    "Point",
    "Rollout",
    "Rule",
    "Skills",
    "Specialisation",
    "Subnetwork",
    "Tape",
    "Target",
    "Trace",
    "Wiring",
    "agreement",
    "automaton",
    "automaton_of",
    "averaging",
    "bigram",
    "bits_under",
    "cka",
    "communities",
    "cost",
    "cut",
    "decay",
    "edge_sizes",
    "effective_degree",
    "effective_neurons",
    "explain",
    "fixed_points",
    "forgetful",
    "half_life",
    "half_lives",
    "hyperactive",
    "importance",
    "impulse_response",
    "information",
    "interaction_basis",
    "ipr",
    "kept",
    "logit_lens",
    "match",
    "mean_replaced",
    "measure_effective_neurons",
    "normalised_information",
    "overlap",
    "paired_difference",
    "patch",
    "phases",
    "pseudo_depth",
    "received",
    "record",
    "relabelled",
    "relative",
    "rollout",
    "rsa",
    "rsa_curve",
    "same_roles",
    "shuffled_identities",
    "shuffled_sources",
    "silenced",
    "skills",
    "skipped",
    "sparsity",
    "specialisation",
    "spectra",
    "subnetwork",
    "symbol_classes",
    "thresholded_degree",
    "time_constants",
    "topology",
    "trace",
    "transplanted",
    "wiring",
]
