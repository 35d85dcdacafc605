"""Rivals of our compression that are no plans of it, from their papers: `f(model, rows, keep, roles)`, in place.

Looked at besides: SAES-SVD (arXiv 2602.03051; an independent attempt did not reach its numbers), AA-SVD (2604.02119)
and Dobi-SVD (2502.02723), which train blocks or ranks and so are not of one shot, and SliceGPT (2401.15024; MoDeGPT is
ahead of it in its own paper).
"""

from __future__ import annotations

from inn_studies.ngc_rivals.cut import modegpt, nystrom
from inn_studies.ngc_rivals.ranks import d_rank, svd_llm_v2
from inn_studies.ngc_rivals.zero_sum import zero_sum

RIVALS = {
    "nystrom": nystrom,
    "modegpt": modegpt,
    "svd-llm-v2": svd_llm_v2,
    "d-rank": d_rank,
    "zero-sum": zero_sum,
}
