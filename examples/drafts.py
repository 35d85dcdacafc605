"""A program written by four roles: a plan, drafts of its parts side by side, a review of each, and the assembly.

After *CortexCompile*, arXiv 2409.02938. The roles are calls of one language model, which is handed in: any function of
a role and a prompt. A call that fails is made again, and so is a draft that is sent back; what was asked and said
stands in a log, which can be played again. How good a program is depends on the model alone, so nothing is claimed of
that, and no program is run: that a draft is Python at all is what the review asks first.

Nothing here is a neuron. Any model of this library does as a language model (`spoken`), but the small ones that come
with it write no Python: with them every draft comes back, until the studio gives up and says so.

    python examples/drafts.py [RUN of a model of bytes]
"""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import inn

PLAN, DRAFT, REVIEW = "plan", "draft", "review"
GOOD = "good"
"""How a review begins that lets a draft pass."""
IDLE = 10_000
"""Turns of the event loop after which what a log has next will not come."""
Event = tuple[str, str, str]
"""`asks`, `says` or `fails`; the call, as `draft PART`; the text."""
Model = Callable[[str, str], Awaitable[str]]
"""The answer in a role to a prompt. An `OSError`, as of a network, is a call that failed."""


class Studio:
    """The roles round a model.

    Args:
        model: the language model.
        retries: how often more a call that fails is made, and a draft that is sent back is written.
        together: calls at once, at most.
    """

    def __init__(self, model: Model, retries: int = 2, together: int = 8):
        self.model, self.retries, self.together = model, retries, together
        self.log: list[Event] = []

    async def write(self, task: str) -> str:
        """The program of a task: its plan names a part a line, and parts are put together in the plan's order."""
        self.places = asyncio.Semaphore(self.together)
        plan = [line.strip() for line in (await self.call(PLAN, "", task)).splitlines() if line.strip()]
        if not plan or len(set(plan)) < len(plan):
            raise inn.InputError(f"a plan names each part once, in a line of its own; this one is {plan}")
        parts = [asyncio.create_task(self.part(part, task)) for part in plan]
        try:
            program = "\n\n\n".join(draft.strip() for draft in await asyncio.gather(*parts)) + "\n"
        finally:
            for part in parts:
                part.cancel()  # those that go on where one was given up
        if remark := fault(program):
            raise inn.InputError(f"the parts are Python, and the whole is not: {remark}")
        return program

    async def part(self, part: str, task: str) -> str:
        """A draft of a part that the review lets pass; raises `InputError` where none does."""
        remark = ""
        for _ in range(self.retries + 1):
            draft = await self.call(DRAFT, part, f"{task}\nwrite: {part}\n{remark}")
            remark = fault(draft) or await self.call(REVIEW, part, f"{task}\nreview: {part}\n{draft}")
            if remark.startswith(GOOD):
                return draft
        raise inn.InputError(f"no draft of '{part}' passed, of {self.retries + 1}; the last remark was: {remark}")

    async def call(self, role: str, part: str, prompt: str) -> str:
        """What the model says; raises `InputError` where it fails each time."""
        name = f"{role} {part}".strip()
        async with self.places:
            for attempt in count(1):
                self.log.append(("asks", name, prompt))
                await asyncio.sleep(0)  # all who can ask have asked, however fast the model is: a replay is
                try:
                    answer = await self.model(role, prompt)
                except OSError as error:
                    self.log.append(("fails", name, f"{error}"))
                    if attempt > self.retries:
                        raise inn.InputError(f"'{name}' failed {attempt} times, at last with: {error}") from error
                else:
                    self.log.append(("says", name, answer))
                    return answer
        raise AssertionError


def fault(text: str) -> str:
    """Why a text is no Python; empty where it is. It is read, and not run."""
    try:
        return "" if ast.parse(text).body else "there is no Python in it"
    except (SyntaxError, ValueError) as error:
        return f"this is no Python: {error}"


def at_once(log: Sequence[Event]) -> int:
    """The most drafts of a log that were being written at one time."""
    now, most = set[str](), 0
    for event, call, _ in log:
        if call.startswith(DRAFT):
            (now.add if event == "asks" else now.discard)(call)
            most = max(most, len(now))
    return most


async def replay(log: Sequence[Event], task: str, retries: int = 2, together: int = 8) -> tuple[str, list[Event]]:
    """The program that a log comes to, and the log of that; raises `InputError` where something else is asked for.

    Answers come in the order in which they came: each waits for all that stands before it in the log.
    """
    asked, outcomes = dict[str, int](), dict[int, int]()
    for at, (event, call, _) in enumerate(log):
        if event == "asks":
            asked[call] = at
        else:
            outcomes[asked.pop(call, -1)] = at

    async def again(role: str, prompt: str) -> str:
        said = ((event, call.split()[0], text) for event, call, text in reversed(studio.log))
        at = len(studio.log) - 1 - [*said].index(("asks", role, prompt))
        if at not in outcomes or log[at] != studio.log[at]:
            raise inn.InputError(f"the log is of something else: its entry {at} is not '{role}' with this prompt")
        end = outcomes[at]
        for _ in range(IDLE):
            if len(studio.log) >= end:
                break
            await asyncio.sleep(0)
        event, _, text = log[end]
        if len(studio.log) != end:
            raise inn.InputError(f"the log is of something else: its entry {len(studio.log)} does not come")
        if event == "fails":
            raise OSError(text)
        return text

    studio = Studio(again, retries, together)
    return await studio.write(task), studio.log


def spoken(model: Any, symbols: int = 200, seed: int = 0) -> Model:
    """A model of this library as a language model: it goes on from the prompt, in a thread."""

    async def answer(role: str, prompt: str) -> str:
        return await asyncio.to_thread(lambda: "".join(model.generate(prompt, symbols, seed=seed)))

    return answer


PARTS = {
    "words": "def words(text):\n    return text.lower().split()",
    "counted": "def counted(items):\n    return {item: items.count(item) for item in items}",
    "most": "def most(counts):\n    return max(counts, key=counts.get)",
}


async def scripted(role: str, prompt: str) -> str:
    """A stub: it plans three parts, forgets a colon in the first draft of `counted`, and is good from then on."""
    await asyncio.sleep(0.01)
    if role == PLAN:
        return "\n".join(PARTS)
    if role == REVIEW:
        return GOOD
    _, wish, *remark = prompt.splitlines()
    part = wish.removeprefix("write: ")
    return PARTS[part] if part != "counted" or remark else PARTS[part].replace(":", "", 1)


async def main(run: str = "") -> None:
    task = "tell the most frequent word of a text"
    studio = Studio(spoken(inn.load(run)) if run else scripted)
    try:
        print(await studio.write(task))
        print(f"played again, the same log: {(await replay(studio.log, task))[1] == studio.log}")
    except inn.InputError as error:
        print(error)
    print(f"{len(studio.log)} entries in the log, {at_once(studio.log)} drafts at once")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
