"""The papers' tables and figures, and our own questions, each as a command: `inn study NAME`.

One file per study, one protocol (`inn.studies.study.Study`), one registry (`STUDIES`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inn.studies.study import Study

STUDIES: dict[str, str] = {
    "text8": "inn.studies.text8:Text8",
    "stability": "inn.studies.stability:Stability",
    "identical": "inn.studies.identical:Identical",
    "gap": "inn.studies.gap:Gap",
    "gate": "inn.studies.gate:Gates",
    "samples": "inn.studies.samples:Samples",
    "neurons": "inn.studies.neurons:Neurons",
    "rivals": "inn.studies.rivals:Rivals",
    "rivals-long": "inn.studies.rivals:LongRivals",
    "one-pass": "inn.studies.one_pass:OnePass",
    "ablation": "inn.studies.ablation:Ablation",
    "wikitext2": "inn.studies.wikitext2:WikiText2",
    "ptb": "inn.studies.ptb:Ptb",
    "ptb-characters": "inn.studies.ptb:PtbCharacters",
    "ptb-sweep": "inn.studies.ptb_sweep:PtbSweep",
    "vocabulary": "inn.studies.vocabulary:VocabularyStudy",
    "cost": "inn.studies.cost:Cost",
    "ngc": "inn.studies.ngc:Ngc",
    "ngc-cost": "inn.studies.ngc_cost:NgcCost",
    "ngc-stability": "inn.studies.ngc_stability:NgcStability",
    "communal": "inn.studies.communal:Communal",
}
"""Every study by name, in the order of the report: where its class is (imported when it is asked for)."""


def open_study(name: str) -> Study:
    """The study of this name, one of `STUDIES`.

    >>> open_study("text8").source
    'Table 2, Figure 2'
    """
    module, cls = STUDIES[name].split(":")
    return getattr(import_module(module), cls)()
