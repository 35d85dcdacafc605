"""19: four roles that write a program, as a graph of calls of a language model that is handed in."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from inn.system.errors import InputError
from inn_studies.family.entry import Criterion, Entry, mean, row, scores
from inn_studies.family.examples import example
from inn_studies.lab import Lab

PARTS, RETRIES, FAULTS = 5, 2, 0.3
"""Of a program; of a call; the share of calls that fail."""
SIDE, SERIAL, ONCE = "side by side", "one call at a time", "no retries"
WRITTEN, FORMULA, AT_ONCE, AGAIN, ORDER = (
    "programs written",
    "closed form",
    "drafts at once",
    "same log",
    "another's order",
)
NEAR = 0.05
"""How far from the closed form, about three standard errors."""


def scripted(faults: float, seed: int) -> Any:
    """A stub that takes its time, a number of turns drawn from the seed, and fails a share of its calls."""
    draw = random.Random(seed)

    async def answer(role: str, prompt: str) -> str:
        for _ in range(draw.randrange(1, 20)):
            await asyncio.sleep(0)
        if draw.random() < faults:
            raise OSError("nobody answers")
        if role == "plan":
            return "\n".join(f"part{k}" for k in range(PARTS))
        part = prompt.splitlines()[1].split(": ")[1]
        return "good" if role == "review" else f"def {part}():\n    return {len(part)}"

    return answer


def written(retries: int, together: int, programs: int, seed: int) -> dict[str, float]:
    """Shares of programs that are written, and that a replay gives again, log and all (for `Lab.compute`)."""
    code, found = example("drafts", 19), {WRITTEN: 0, AGAIN: 0, ORDER: 0}
    most = []

    async def one(k: int) -> None:
        studio = code.Studio(scripted(FAULTS, 10_000 * seed + k), retries, together)
        try:
            program = await studio.write("a task")
        except InputError:
            return
        found[WRITTEN] += 1
        most.append(code.at_once(studio.log))
        found[AGAIN] += await code.replay(studio.log, "a task", retries, together) == (program, studio.log)
        other = code.Studio(scripted(FAULTS, 10_000 * seed + programs + k), retries, together)
        try:
            await other.write("a task")
        except InputError:
            return
        found[ORDER] += other.log == studio.log

    async def all_of() -> None:
        for k in range(programs):
            await one(k)

    asyncio.run(all_of())
    done = found[WRITTEN]
    return {
        WRITTEN: done / programs,
        AGAIN: found[AGAIN] / max(done, 1),
        ORDER: found[ORDER] / max(done, 1),
        AT_ONCE: sum(most) / max(done, 1),
    }


def told(retries: int) -> float:
    """The share of programs in closed form: of a plan, and a draft and a review of each part, none fails for good."""
    return (1 - FAULTS ** (retries + 1)) ** (1 + 2 * PARTS)


class Drafting(Entry):
    """Programs by a stub that fails at times, with and without retries, side by side and one call at a time."""

    number = 19
    title = "Four roles that write a program"
    source = "*CortexCompile*, [arXiv 2409.02938](https://arxiv.org/abs/2409.02938)"
    claim = (
        "agents named after regions of the cortex, which plan, draft and assemble side by side, write programs faster "
        "and better than one large model."
    )
    home = "`examples/drafts.py`, which has no neurons: any model of the library can be the language model (`spoken`)"
    control = "no retries; one call at a time; the log of the same task with other answers' times"
    score = f"shares of programs of {PARTS} parts, by a stub that fails {FAULTS:.0%} of its calls; drafts at once"

    def measure(self, lab: Lab, size: Any, seeds: int) -> dict[str, Any]:
        example("drafts", 19)
        rows, programs = [], size.of(20, 400)
        for label, retries, together in ((SIDE, RETRIES, 8), (SERIAL, RETRIES, 1), (ONCE, 0, 8)):
            same = {"retries": retries, "together": together, "programs": programs}
            runs = lab.compute(written, {f"{label} {s}": {**same, "seed": s} for s in range(seeds)}).values()
            found = {test: [run[test] for run in runs] for test in (WRITTEN, AT_ONCE, AGAIN, ORDER)}
            rows.append(row(label, {**found, FORMULA: [told(retries)]}, control=label != SIDE))
        return {"rows": rows, "programs": programs}

    def criteria(self, result: dict[str, Any]) -> list[Criterion]:
        enough = result["programs"] >= 400
        off = max(abs(mean(result, label, WRITTEN) - mean(result, label, FORMULA)) for label in (SIDE, SERIAL, ONCE))
        at_once, serial = (mean(result, label, AT_ONCE) for label in (SIDE, SERIAL))
        again, order = min(scores(result, SIDE, AGAIN)), max(scores(result, SIDE, ORDER))
        done, once = mean(result, SIDE, WRITTEN), mean(result, ONCE, WRITTEN)
        return [
            Criterion.of("side by side", f"≥ {PARTS - 1} of {PARTS} drafts at once; one call at a time: 1",
                         f"{at_once:.2f}; {serial:.2f}", at_once >= PARTS - 1 and serial == 1),
            Criterion.of("retries", f"within {NEAR} of the closed form, with and without", f"off by {off:.3f}",
                         off <= NEAR if enough else None),
            Criterion.of("control: no retries", "fewer than a tenth as many programs", f"{once:.3f} beside {done:.3f}",
                         once < done / 10),
            Criterion.of("played again", "the same log, all of them", f"{again:.1%}", again == 1),
            Criterion.of("control: other times", "another log, nearly all", f"{order:.1%} the same", order < 0.05),
        ]  # fmt: skip

    def found(self, result: dict[str, Any]) -> str:
        return (
            "nothing is said of the quality of programs, which is the language model's alone: the stub's are trivial, "
            "and the models that come with this library write no Python."
        )
