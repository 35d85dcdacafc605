"""`inn study family`: related systems, each built into the library and put to a test; a file per entry, one page."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from inn.system.errors import InputError

if TYPE_CHECKING:
    from inn_studies.family.entry import Entry

ENTRIES: dict[int | str, str] = {
    1: "signatures:Signatures",
    "1b": "taught:Taught",
    2: "experts:ExpertsEntry",
    3: "transplant:Transplant",
    4: "messages:Messages",
    5: "mixture:MixtureEntry",
    6: "bricks:Bricks",
    7: "resting:Resting",
    8: "ensembles:Ensembles",
    9: "shielded:Shielded",
    10: "nested:Nested",
    11: "places:Places",
    12: "frequencies:Frequencies",
    13: "chained:Chained",
    14: "planted:Planted",
    15: "activations:Activations",
    16: "separable:SeparableEntry",
    17: "drawn:Drawn",
    18: "wirings:Wirings",
    19: "drafting:Drafting",
    20: "connectome:Connectome",
    "20b": "swum:Swum",
    21: "modalities:Modalities",
    22: "hourglass:HourglassEntry",
    23: "selectable:Selectable",
    24: "modules:Modules",
    26: "elm:Elm",
    27: "memorising:Memorising",
    28: "protecting:Protecting",
    29: "association:Association",
    30: "spiking:Spiking",
    31: "generated:Generated",
    32: "circuit:Circuit",
    "32b": "behaviour:Behaviour",
    33: "spikes:SpikeCoding",
    34: "bigrams:Bigrams",
    35: "searching:Searching",
    36: "emulated:Emulated",
    37: "alike:Alike",
    38: "overlaps:Overlaps",
    41: "growing:Growing",
    42: "remembering:Remembering",
    43: "switches:Switches",
}
"""Every entry by its number (`1b`: another on the paper of 1): `module:class`, in this package.

A module is imported when its entry is asked for."""


NAMES = {"hmm": "36", "skills": "6,24"}
"""Entries that are a command of their own, `inn study hmm`, too."""


def in_order(numbers: Iterable[int | str]) -> list[int | str]:
    """Numbers of entries from the lowest, `1b` behind 1.

    >>> in_order([10, "1b", 2, 1])
    [1, '1b', 2, 10]
    """
    return sorted(numbers, key=lambda n: (int(str(n).rstrip("b")), str(n)))


def open_entry(number: int | str) -> Entry:
    """The entry of this number, one of `ENTRIES`; raises `InputError` for another."""
    if number not in ENTRIES:
        raise InputError(
            f"there is no entry {number}; there are {', '.join(map(str, in_order(ENTRIES))) or 'none yet'}"
        )
    module, cls = ENTRIES[number].split(":")
    return getattr(import_module(f"inn_studies.family.{module}"), cls)()
