"""The papers' tables and figures, and our own questions, each as a command: `inn study NAME`.

One file per study, one protocol (`inn_studies.study.Study`), one registry (`STUDIES`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inn_studies.study import Study

STUDIES: dict[str, str] = {
    "text8": "inn_studies.text8:Text8",
    "stability": "inn_studies.stability:Stability",
    "identical": "inn_studies.identical:Identical",
    "gap": "inn_studies.gap:Gap",
    "gate": "inn_studies.gate:Gates",
    "resting": "inn_studies.resting:Resting",
    "samples": "inn_studies.samples:Samples",
    "neurons": "inn_studies.neurons:Neurons",
    "rivals": "inn_studies.rivals:Rivals",
    "rivals-long": "inn_studies.rivals:LongRivals",
    "one-pass": "inn_studies.one_pass:OnePass",
    "ablation": "inn_studies.ablation:Ablation",
    "counting": "inn_studies.counting:Counting",
    "wiring": "inn_studies.wiring:Wiring",
    "organs": "inn_studies.organs:Organs",
    "mixed": "inn_studies.mixed:Mixed",
    "repair": "inn_studies.repair:Repair",
    "wikitext2": "inn_studies.wikitext2:WikiText2",
    "ptb": "inn_studies.ptb:Ptb",
    "ptb-characters": "inn_studies.ptb:PtbCharacters",
    "ptb-sweep": "inn_studies.ptb_sweep:PtbSweep",
    "vocabulary": "inn_studies.vocabulary:VocabularyStudy",
    "cost": "inn_studies.cost:Cost",
    "ngc": "inn_studies.ngc:Ngc",
    "ngc-parts": "inn_studies.ngc_parts:NgcParts",
    "ngc-heal": "inn_studies.ngc_heal:NgcHeal",
    "ngc-stories": "inn_studies.ngc_stories:NgcStories",
    "ngc-cost": "inn_studies.ngc_cost:NgcCost",
    "ngc-encoders": "inn_studies.ngc_encoders:NgcEncoders",
    "ngc-bytes": "inn_studies.ngc_bytes:NgcBytes",
    "ngc-stability": "inn_studies.ngc_stability:NgcStability",
    "communal": "inn_studies.communal:Communal",
    "logs": "inn_studies.logs:Logs",
    "rules": "inn_studies.rules:Rules",
    "grokking": "inn_studies.grokking:Grokking",
}
"""Every study by name, in the order of the report: where its class is (imported when it is asked for)."""


def open_study(name: str) -> Study:
    """The study of this name, one of `STUDIES`.

    >>> open_study("text8").source
    'Table 2, Figure 2'
    """
    module, cls = STUDIES[name].split(":")
    return getattr(import_module(module), cls)()
