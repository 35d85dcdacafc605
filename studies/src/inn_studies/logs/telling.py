"""The tables of study logs, made of its result alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from inn_studies.logs.faults import COPIES, KINDS
from inn_studies.logs.measures import KEYED, LEARNED, PLAIN
from inn_studies.logs.precision import WAYS, chosen
from inn_studies.rows import markdown, spread

GOAL, LEAD = 0.40, 0.05
"""Bits per byte to reach, the mean of the samples; and the average precision to be ahead by."""
RIVAL = "zpaq -m5"
COUNTS, PPM = "order-k counts", "PPM"
Systems = Mapping[str, Mapping[str, Any]]


def bits_table(result: Mapping[str, Any]) -> str:
    """Bits per byte of every sample."""
    systems: Systems = result["systems"]
    names = list(next(iter(systems.values()))["compressors"]["alone"])
    primed = [name for name in names if all(s["compressors"]["primed"] for s in systems.values())]
    head = ["system", *(f"{name}:" for name in names), *(f"{name}, primed:" for name in primed)]
    rows = [
        [system, *_compressed([s], names, primed), *(spread([o["bits"][way] for o in s["ours"]]) for way in _WAYS)]
        for system, s in systems.items()
    ]
    ours = {way: [mean_bits(result, way, seed) for seed in range(seeds(result))] for way in _WAYS}
    rows.append(["**mean**", *_compressed(systems.values(), names, primed), *(spread(ours[way]) for way in _WAYS)])
    best = statistics.mean(ours[LEARNED])
    met = "met" if best <= GOAL else "not met"
    learning, first = result["learning"], result["rows"][0]
    return (
        f"Bits per byte of the first 2,000 lines of each system (loghub), read once from the start. The model "
        f"({first['parameters']:,} parameters) is pretrained on {_pretrained(first)} of the other folds' systems, "
        f"read once; its tables of counts are empty when it begins with a sample. {LEARNED.capitalize()}: a step of "
        f"Adam at {learning['rate']:g} after every {learning['window']} bytes, none of which it had seen when it told "
        f"their probabilities. Compressors read the sample from nothing; *primed*: what it adds to the very logs that "
        f"the model was pretrained on. The mean is that of the samples' ratios. With learning it is {best:.3f} (goal "
        f"{GOAL:.2f}: {met}), without {statistics.mean(ours[PLAIN]):.3f}.\n\n"
        + markdown([*head, *(f"the model, {way}:" for way in _WAYS)], rows)
    )


_WAYS = (PLAIN, LEARNED)


def _pretrained(row: Mapping[str, Any]) -> str:
    return f"the logs ({row['symbols'] / 1e6:.1f} million bytes)"


def _compressed(systems: Iterable[Mapping[str, Any]], names: list[str], primed: list[str]) -> list[str]:
    """The cells of compressors, means of some systems."""
    of = [s["compressors"] for s in systems]
    pairs = [*(("alone", name) for name in names), *(("primed", name) for name in primed)]
    return [f"{statistics.mean(one[how][name] for one in of):.3f}" for how, name in pairs]


def seeds(result: Mapping[str, Any]) -> int:
    """How many there are."""
    return len(next(iter(result["systems"].values()))["ours"])


def mean_bits(result: Mapping[str, Any], way: str, seed: int) -> float:
    """The mean over samples of a model's bits per byte."""
    return statistics.mean(s["ours"][seed]["bits"][way] for s in result["systems"].values())


def options(result: Mapping[str, Any], seed: int) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Precision by model, system and option: what a model's score of a line may be made of, by all kinds and each."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for system, s in result["systems"].items():
        ours = {f"the model, {name}": of for name, of in s["ours"][seed]["precision"].items()}
        for name, ways in (ours | s["rivals"][seed]["precision"]).items():
            model, prefix = (COUNTS, f"{name}, ") if name.startswith("order ") else (name, "")
            found.setdefault(model, {}).setdefault(system, {}).update({prefix + way: of for way, of in ways.items()})
    return found


def judged(result: Mapping[str, Any], seed: int, only: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Of each model the mean precision over systems, of all faults and of each kind, and the options that were chosen.

    What a score is made of is chosen for the systems of a fold by the mean of the other folds' systems; where there is
    one fold, by all.
    """
    folds = {system: s["fold"] for system, s in result["systems"].items()}
    told: dict[str, dict[str, Any]] = {}
    for model, found in options(result, seed).items():
        among = [system for system in found if only is None or system in set(only)]
        values = {system: {o: of["all"] for o, of in found[system].items()} for system in found}
        picked = {
            system: chosen(values, [s for s in found if folds[s] != folds[system]] or list(found)) for system in among
        }
        means = {}
        for kind in ("all", *KINDS):
            known = [of[kind] for system in among if kind in (of := found[system][picked[system]])]
            if known:
                means[kind] = statistics.mean(known)
        best = chosen(values, among) if among else ""
        hindsight = statistics.mean(values[system][best] for system in among) if among else 0.0
        told[model] = {"means": means, "picked": picked, "systems": among, "hindsight": hindsight, "best": best}
    return told


def precision_table(result: Mapping[str, Any]) -> str:
    """Average precision of every model, of all faults and of each kind."""
    every = [judged(result, seed) for seed in range(seeds(result))]
    whole = [name for name, of in every[0].items() if len(of["systems"]) == len(result["systems"])]
    keyed = next((of["systems"] for name, of in every[0].items() if KEYED in name), [])
    among = [judged(result, seed, keyed) for seed in range(seeds(result))]
    rows = [
        [
            name,
            *(spread([m[kind] for one in every if kind in (m := one[name]["means"])]) for kind in ("all", *KINDS)),
            spread([one[name]["hindsight"] for one in every]),
            every[0][name]["best"],
        ]
        for name in whole
    ]  # fmt: skip
    lead = {name: statistics.mean(one[name]["means"]["all"] for one in every) for name in whole}
    ours = max((name for name in whole if name.startswith("the model")), key=lead.__getitem__)
    rival = max((name for name in whole if not name.startswith("the model")), key=lead.__getitem__)
    ahead = lead[ours] - lead[rival]
    count = sum(sum(s["ours"][0]["faults"].values()) for s in result["systems"].values())
    kinds = "; ".join(f"*{kind}*: {said}" for kind, said in KINDS.items())
    ways = "; ".join(f"*{way}*: {said}" for way, said in WAYS.items())
    text = (
        f"### Faults\n\nAverage precision per line in the second half of each sample, where {count:,} lines (of all "
        f"samples, first seed) are faulty; means of the samples. Kinds: {kinds}. A burst is {COPIES} faulty lines. "
        f"What a line's score is made of is chosen for the samples of a fold by those of the other folds, of every "
        f"model alike ({ways}; of counts the order, too); *best*: the one that is best for all samples in hindsight. "
        f"Counts and PPM (escape method D, order 8, exclusion) read the sample from nothing. {ours.capitalize()}, is "
        f"{ahead:+.3f} from {rival} (goal {LEAD:+.2f}: {'met' if ahead >= LEAD else 'not met'}).\n\n"
    )
    head = ["scores by", "all faults:", *(f"{kind}:" for kind in KINDS), "in hindsight:", "best"]
    text += markdown(head, rows)
    if keyed:
        keys = [[name, spread([one[name]["means"]["all"] for one in among])] for name in among[0]]
        text += f"\n\nOf the samples that have a key ({', '.join(keyed)}):\n\n"
        text += markdown(["scores by", "all faults:"], keys)
    return text
