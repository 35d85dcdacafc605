"""What Table 2's numbers became, read from bits made by hand."""

from __future__ import annotations

import re

import pytest

from inn_studies.text8 import judged

UNIGRAM = 4.11
OURS = {
    "inn-paper": [2.40],
    "inn-paper-fixed": [2.23],
    "lstm": [2.377],
    "mamba-stack": [2.11],
    "transformer-paper": [2.8],
}


@pytest.mark.parametrize(
    "label, change, outcome, because",
    [
        ("mamba-stack", {}, "artefact", "fed correctly is ahead of the published graph"),
        ("mamba-stack", {"mamba-stack": [2.5]}, "not reproduced", "does not diverge"),
        ("inn-paper", {}, "reproduced", r"\+0.023 BPC from the LSTM, in the paper \+0.023"),
        ("inn-paper", {"lstm": [2.2]}, "not reproduced", r"\+0.200 BPC from the LSTM"),
        ("lstm", {}, "reproduced", "ahead of the published graph, as in the paper"),
        ("lstm", {"lstm": [2.5]}, "not reproduced", "behind the published graph, unlike in the paper"),
        ("transformer-paper", {}, "reproduced", "behind the published graph, as in the paper"),
        ("transformer-paper", {"transformer-paper": [4.105]}, "not measured", "how often each one comes"),
        ("lstm", {"lstm": []}, "not measured", "every run diverged"),
    ],
)
def test_verdicts(label, change, outcome, because):
    _, found, reason = judged(label, {**OURS, **change}, UNIGRAM)
    assert found == outcome
    assert re.search(because, reason)
