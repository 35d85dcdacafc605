"""Three unlike agents on one bus look through a log: rules, scikit-learn, and a graph of neurons that scores lines.

After *MOD-X*, arXiv 2507.04376, made small and in one process. Agents say in words what they can and are found by
likeness of words; messages are typed, and translated where two agents share no type; what is said stands in a log in
which every entry has the hash of the one before. The neurons are where a log is read symbol by symbol: `LineScorer`
with the model `logs`. In bus, registry and log nothing learns, and nothing is of this library.

    pip install pydantic scikit-learn inn-models
    python examples/agents.py app.log [RUN]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import TfidfVectorizer

import inn
from inn.inference.scoring.lines import LineScorer

Said = TypeVar("Said", bound=BaseModel)
Translators = dict[type[BaseModel], list[tuple[type[BaseModel], Callable[[Any], BaseModel]]]]
ALIKE = 0.2  # the least cosine between a wish and what an agent says that it can
WISHES = ("find words of failure by rules", "find outliers among lines", "score lines by bits of surprise")
PATIENCE = 60.0  # seconds in which an agent has to answer


class Text(BaseModel):
    text: str


class Lines(BaseModel):
    lines: list[str]


class Depths(BaseModel):
    depths: list[float]


class Marks(BaseModel):
    marks: list[float]


class Log:
    """What was said, in entries chained by hashes; keep `head` elsewhere, for whoever can rewrite all entries."""

    def __init__(self):
        self.entries, self.head = list[tuple[str, ...]](), ""

    def add(self, *said: str) -> None:
        self.head = self.seal(self.head, said)
        self.entries.append((*said, self.head))

    @staticmethod
    def seal(before: str, said: Sequence[str]) -> str:
        return hashlib.sha256(json.dumps([before, *said]).encode()).hexdigest()

    def changed(self, head: str = "") -> int | None:
        """The index of the first entry that is not as it was written (their number: the end is missing), or None."""
        before = ""
        for index, (*said, own) in enumerate(self.entries):
            if own != self.seal(before, said):
                return index
            before = own
        return len(self.entries) if head not in ("", before) else None


class Agent(NamedTuple):
    name: str
    can: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    work: Callable[[Any], BaseModel]  # in a thread of its own


class Bus:
    """Topics that agents subscribe to, the registry of what they can, translators, and the log of all that is said."""

    def __init__(self):
        self.log, self.agents, self.jobs, self.tasks = Log(), list[Agent](), 0, dict[str, asyncio.Task[None]]()
        self.readers: dict[str, list[asyncio.Queue[tuple[int, BaseModel]]]] = defaultdict(list)
        self.translators: Translators = defaultdict(list)

    def translate(self, message: BaseModel, into: type[Said]) -> Said:
        """The message as another type, by the fewest translators; raises `InputError` where none lead there."""
        ways = [message]
        for said in ways:
            if isinstance(said, into):
                return said
            ways += [how(said) for to, how in self.translators[type(said)] if to not in map(type, ways)]
        raise inn.InputError(f"nothing translates {type(message).__name__} into {into.__name__}; add a translator")

    def publish(self, event: str, who: str, topic: str, message: BaseModel, job: int) -> None:
        self.log.add(event, who, topic, str(job), message.model_dump_json())
        for reader in self.readers[topic]:
            reader.put_nowait((job, message))

    def join(self, agent: Agent) -> None:
        self.agents.append(agent)
        self.log.add("joins", agent.name, agent.can, f"{agent.takes.__name__} to {agent.gives.__name__}")
        self.readers[f"to {agent.name}"].append(asked := asyncio.Queue())
        self.tasks[agent.name] = asyncio.create_task(self._serve(agent, asked))

    async def _serve(self, agent: Agent, asked: asyncio.Queue[tuple[int, BaseModel]]) -> None:
        while True:
            job, message = await asked.get()
            answer = await asyncio.to_thread(agent.work, message)
            self.publish("answers", agent.name, f"job {job}", agent.gives.model_validate(answer), job)

    def find(self, wish: str, before: str = "") -> Agent:
        """The agent that says the most alike of itself; raises `InputError`, with the nearest, where none is near."""
        said = [agent.can for agent in self.agents]
        words: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform([*said, wish]).toarray()
        alike = words[:-1] @ words[-1]
        if max(alike, default=0) < ALIKE:
            nearest = f"the nearest that somebody can is '{said[alike.argmax()]}'" if said else "nobody is left"
            raise inn.InputError(f"nobody here can '{wish}'; {nearest}{before}")
        return self.agents[alike.argmax()]

    async def ask(self, wish: str, message: BaseModel, into: type[Said]) -> Said:
        """What the likeliest agent answers; one that crashes is out, and the next has the job."""
        crashed = ""
        while True:
            agent, self.jobs = self.find(wish, crashed), self.jobs + 1
            self.readers[f"job {(job := self.jobs)}"].append(answers := asyncio.Queue())
            self.publish("asks", "bus", f"to {agent.name}", self.translate(message, agent.takes), job)
            task, got = self.tasks[agent.name], asyncio.create_task(answers.get())
            await asyncio.wait((task, got), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if got.done():
                return self.translate(got.result()[1], into)
            got.cancel()
            crashed += f"; {agent.name} crashed: {repr(task.exception()) if task.done() else 'no answer'}"
            self.agents = [other for other in self.agents if other is not agent]
            self.log.add("crashes", agent.name, crashed)
            task.cancel()


def split(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def by_rules(log: Lines) -> Marks:
    bad = re.compile(r"\b(error|fail\w*|fatal|denied|refused|exception|warn\w*|timed? ?out)\b", re.IGNORECASE)
    return Marks(marks=[float(len(bad.findall(line))) for line in log.lines])


def by_forest(log: Lines) -> Depths:
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2), max_features=200).fit_transform(log.lines)
    forest = IsolationForest(random_state=0).fit(letters)
    return Depths(depths=forest.decision_function(letters).tolist())


def by_neurons(model: str, log: Text) -> Marks:
    scorer = LineScorer(inn.load(model))
    return Marks(marks=[line.surprise for line in [*scorer.feed(log.text.encode()), *scorer.end()]])


def company(bus: Bus, model: str) -> None:
    """The three agents, and translators between what they take and give; of a mark more is worse."""
    bus.translators[Text] = [(Lines, lambda log: Lines(lines=split(log.text)))]
    bus.translators[Depths] = [(Marks, lambda found: Marks(marks=[-depth for depth in found.depths]))]
    bus.join(Agent("rules", "find words of failure in lines, by rules", Lines, Marks, by_rules))
    bus.join(Agent("forest", "find outliers among lines, by a forest of trees", Lines, Depths, by_forest))
    bus.join(
        Agent("neurons", "score lines of a log by surprise, in bits", Text, Marks, lambda log: by_neurons(model, log))
    )


async def report(bus: Bus, text: str, wishes: Sequence[str] = WISHES) -> list[float]:
    """How suspicious each line is: for each wish the share of lines that are less so, the mean over wishes."""
    found = await asyncio.gather(*(bus.ask(wish, Text(text=text), Marks) for wish in wishes))
    ordered = [sorted(said.marks) for said in found]
    marks = zip(*(said.marks for said in found), strict=True)
    return [mean(bisect_left(o, m) / len(o) for o, m in zip(ordered, line, strict=True)) for line in marks]


async def main(path: Path, model: str = "logs") -> None:
    bus, text = Bus(), path.read_text(errors="replace")
    company(bus, model)
    for mark, line in sorted(zip(await report(bus, text), split(text), strict=True), reverse=True)[:10]:
        print(f"{mark:.2f}  {line}")
    print(f"{len(bus.log.entries)} entries, the last one's hash is {bus.log.head}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
