"""Experts and organs: what the entries say follows the numbers, and LoRA beside a map begins as the map."""

from __future__ import annotations

import torch

import inn
from inn_studies.family import experts, transplant
from inn_studies.family.entry import row
from inn_studies.low_rank import adapted


def verdicts(entry, result: dict) -> dict[str, str]:
    return {c.id: c.verdict for c in entry.criteria(result)}


def split(half=0.95, drawn=0.8, keyed=0.05, random=0.2) -> dict:
    def three(value):
        return [value] * 3

    rows = [
        row(label, {f"{u} of 16": three(value if u == 8 else 1.0) for u in experts.USES})
        for label, value in ((experts.READ, half), (experts.RANDOM, drawn), (experts.SHUFFLED, 0.9))
    ]
    rows += [
        row(label, {experts.NOW: three(2.0 + 2 * cost), experts.LATER: three(2.0 + cost)})
        for label, cost in ((experts.DENSE, 0.0), (experts.KEYED, keyed), (experts.DRAWN, random))
    ]
    return {"rows": rows, "exact": {n: [[True] * 3, [True] * 3] for n in ("same", "merged")}, "flops": 0.55}


def test_experts_are_judged_by_what_half_costs():
    entry = experts.ExpertsEntry()
    assert set(verdicts(entry, split()).values()) == {"yes"}
    assert verdicts(entry, split(drawn=0.9))["half of the groups"] == "no"
    worse = verdicts(entry, split(keyed=0.15))
    assert (worse["half of the neurons"], worse["random half"]) == ("no", "no")
    assert "45% fewer FLOPs" in entry.found(split())
    assert verdicts(entry, {**split(), "exact": {"same": [[False]], "merged": [[True]]}})["all used"] == "no"


def moved(place=1.8, lora=1.9, later=(2.0, 2.1, 2.2), size=110) -> dict:
    rows = [row(transplant.BASE, {transplant.DOCS: [2.3] * 3, transplant.OLD: [2.2] * 3}, parameters=0)]
    for i, value in enumerate(later):
        for label, bits in ((f"{i}–{i + 1} in place", place), (f"{i}–{i + 1} alone, then 30 joint steps", value)):
            rows.append(
                row(f"rounds {label}", {transplant.DOCS: [bits] * 3, transplant.OLD: [2.5] * 3}, parameters=100)
            )
    rows.append(row("LoRA", {transplant.DOCS: [lora] * 3, transplant.OLD: [2.4] * 3}, parameters=size))
    rows.append(row(transplant.ALL, {transplant.DOCS: [1.7] * 3, transplant.OLD: [2.6] * 3}, parameters=300))
    return {"rows": rows, "back": [True] * 3, "joint": 30}


def test_organs_are_judged_against_lora_of_their_size():
    entry = transplant.Transplant()
    assert set(verdicts(entry, moved()).values()) == {"yes"}
    assert verdicts(entry, moved(lora=1.82))["in place"] == "no"
    assert verdicts(entry, moved(size=90))["size"] == "no"
    assert verdicts(entry, moved(later=(2.1, 2.0, 2.4))) == {
        "in place": "yes", "size": "yes", "taken out": "yes", "alone": "no", "position": "no",
    }  # fmt: skip
    assert "LoRA +0.20" in entry.found(moved())


def test_a_low_rank_part_begins_as_nothing_and_is_of_at_least_the_size_of_an_organ():
    base = inn.INN(vocab=27, **transplant.GRAPH).eval()
    model = adapted(base, transplant.RANK)
    tokens = torch.arange(20)[None]
    torch.testing.assert_close(model(tokens)[0], base(tokens)[0], atol=1e-5, rtol=1e-4)
    organ = inn.graft(base, inn.cut(base, rounds=[1, 2]), freeze=True)
    assert 1 <= transplant.trainable([model]) / transplant.trainable([organ]) < 1.2
