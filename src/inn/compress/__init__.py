"""Compression: weights of trained models factorised into neuronal states that groups of projections share.

A weight is an interaction of two states, W[j, i] = q_out[j] . q_in[i] (*Neuronal Group Communication*, arXiv
2510.16851; reconstructed from the abstract and the authors' released code). Plain SVD, FWSVD, ASVD, SVD-LLM and Basis
Sharing are plans of the same factorisation, so that they can be compared on one text in one run.

>>> import inn.compress as c
>>> c.named_plan("basis-sharing").topology
'basis-sharing'
"""

from __future__ import annotations

from inn.compress.calibrate import rows_of
from inn.compress.healing import RECIPES, Healed, heal
from inn.compress.modules import InputStates, MetricLinear, NeuronalLinear
from inn.compress.plans import PLANS, CompressionPlan, named_plan
from inn.compress.run import Outcome, compress
from inn.compress.topologies import TOPOLOGIES, parse_topology

__all__ = [
    "PLANS",
    "RECIPES",
    "TOPOLOGIES",
    "CompressionPlan",
    "Healed",
    "InputStates",
    "MetricLinear",
    "NeuronalLinear",
    "Outcome",
    "compress",
    "heal",
    "named_plan",
    "parse_topology",
    "rows_of",
]
