"""Entries 4, 19 and 42 and their examples: agents on a bus, a program of four roles, finding back."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from inn.system.errors import InputError
from inn_studies.family import drafting, messages, remembering
from inn_studies.family.entry import row
from inn_studies.family.examples import example


@pytest.fixture
def agents():
    pytest.importorskip("pydantic", reason="pydantic is not installed; it comes with [fields]")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; it comes with [sklearn]")
    return messages.agents()


TEXT = "\n".join([*("all is well", "all is as well as ever") * 10, "error: it failed", "all is well"]) + "\n"


def work(agents, *changes, ask=None):
    """A job of rules, forest and a stub in place of the model of logs; `changes` are made to the company before."""

    async def job():
        bus = agents.Bus()
        agents.company(bus, "no model")
        stub = bus.agents.pop()._replace(work=lambda log: agents.Marks(marks=[float(len(log.text))] * 22))
        bus.join(stub._replace(name="stub"))
        for change in changes:
            change(bus)
        return await (ask(bus) if ask else agents.report(bus, TEXT)), bus

    return asyncio.run(job())


def broken(name, work):
    def change(bus):
        agent = next(a for a in bus.agents if a.name == name)
        bus.agents.remove(agent)
        bus.join(agent._replace(name="broken", work=work))

    return change


def test_three_unlike_agents_finish_one_job_and_a_changed_log_is_found(agents):
    marks, bus = work(agents)
    assert len(marks) == 22
    assert max(range(22), key=lambda i: marks[i]) == 20
    assert [entry[0] for entry in bus.log.entries].count("answers") == 3
    head, kept = bus.log.head, list(bus.log.entries)
    assert bus.log.changed(head) is None
    for at in range(len(kept)):
        bus.log.entries = [*kept[:at], ("asks", "somebody else", *kept[at][2:]), *kept[at + 1 :]]
        assert bus.log.changed() == at
    bus.log.entries = kept[:-1]
    assert bus.log.changed() is None  # nothing in it is wrong ...
    assert bus.log.changed(head) == len(kept) - 1  # ... but the end is missing


def test_what_nobody_can_is_refused_by_name_and_so_are_types_that_nothing_translates(agents):
    with pytest.raises(InputError, match="nobody here can 'bake a cake'; the nearest that somebody can is "):
        work(agents, ask=lambda bus: bus.ask("bake a cake", agents.Text(text=TEXT), agents.Marks))
    with pytest.raises(InputError, match="nothing translates Marks into Lines"):
        work(agents, ask=lambda bus: bus.ask("failure by rules", agents.Marks(marks=[]), agents.Marks))


@pytest.mark.parametrize("crash", ["raises", "answers something else"])
def test_the_job_of_a_crashed_agent_goes_to_another(agents, crash):
    def fails(log):
        if crash == "raises":
            raise RuntimeError("out of order")
        return agents.Text(text="hello")

    def spare(bus):
        agent = next(a for a in bus.agents if a.name == "broken")
        bus.join(agent._replace(name="another", work=agents.by_rules))

    marks, bus = work(agents, broken("rules", fails), spare)
    assert marks == work(agents)[0]
    assert [entry[1] for entry in bus.log.entries if entry[0] == "crashes"] == ["broken"]
    with pytest.raises(InputError, match=r"nobody here can 'find words of failure by rules'.*broken crashed: "):
        work(agents, broken("rules", fails))


def test_a_program_is_written_side_by_side_and_its_log_plays_again():
    code = example("drafts", 19)
    begun, names = set(), set(code.PARTS)

    async def meeting(role, prompt):
        if role == code.DRAFT:
            begun.add(prompt.splitlines()[1])
            while len(begun) < len(names):  # would never end, were drafts written one by one
                await asyncio.sleep(0)
        return await code.scripted(role, prompt)

    async def both():
        studio = code.Studio(meeting)
        program = await studio.write("a task")
        return program, studio.log, await code.replay(studio.log, "a task")

    program, log, again = asyncio.run(asyncio.wait_for(both(), 20))
    assert again == (program, log)
    assert code.at_once(log) == 3
    found: dict = {}
    exec(program, found)  # the stub's
    assert found["most"](found["counted"](found["words"]("a b A"))) == "a"
    assert sum(event == "asks" and call == "draft counted" for event, call, _ in log) == 2  # one came back
    with pytest.raises(InputError, match="the log is of something else"):
        asyncio.run(code.replay(log, "another task"))


@pytest.mark.parametrize(("answers", "says"), [
    ({"review": "too long"}, r"no draft of 'f' passed, of 3; the last remark was: too long"),
    ({"draft": "def f(:"}, "the last remark was: this is no Python"),
    ({"draft": OSError("gone")}, "'draft f' failed 3 times, at last with: gone"),
    ({"plan": "f\nf"}, "a plan names each part once"),
])  # fmt: skip
def test_a_studio_gives_up_in_a_sentence(answers, says):
    async def model(role, prompt):
        answer = {"plan": "f", "draft": "f = 1", "review": "good", **answers}[role]
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(InputError, match=says):
        asyncio.run(example("drafts", 19).Studio(model).write("a task"))


def test_shares_of_written_programs_are_the_closed_form_and_replays_are_exact():
    found = drafting.written(retries=2, together=2, programs=60, seed=0)
    assert found[drafting.WRITTEN] == pytest.approx(drafting.told(2), abs=0.15)
    assert found[drafting.AGAIN] == 1
    assert found[drafting.ORDER] < 0.1


def test_notes_are_read_back_and_the_way_leads_to_the_goal():
    code, rng = example("navigation", 42), np.random.default_rng(0)
    assert remembering.read_back(remembering.KEPT, 50, 0)[remembering.ERROR] < remembering.EXACT
    assert remembering.read_back(remembering.FORGOTTEN, 50, 0)[remembering.ERROR] > 0.1
    errand = code.Errand(rng, "octree graph")
    building, memory = errand.building, errand.memory
    assert set(building.goals.values()) <= set(memory.walked)
    goal = building.goals[errand.goal]
    way = memory.route(goal)
    assert way[-1] == goal
    steps = sum(memory.ways[a][b] for a, b in zip([memory.landmark, *way], way, strict=False))
    assert errand.best[errand.place][-1] <= steps <= len(memory.walked)
    known, here = set(memory.walked), errand.place
    near = memory.near(here, 4)
    cell = next(
        c for c in (m.get(tuple(a >> k for a in here), set()) for k, m in enumerate(memory.cells)) if len(c) > 4
    )
    assert near == sorted(cell - {here}, key=lambda p: (sum(abs(a - b) for a, b in zip(p, here, strict=True)), p))[:4]
    assert cell <= known
    for place in known:  # every move that is open leads to a place from which it can be undone
        assert all(place in building.ways[to].values() for to in building.ways[place].values())


def test_a_walker_does_not_care_for_the_order_of_its_notes():
    code = example("navigation", 42)
    walker, x = code.Walker().eval(), torch.randn(3, code.NOTES, code.WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(walker(x.flatten(1)), walker(x.flip(1).flatten(1)))
    assert 0 <= code.success(walker, "goal last", 0, 3) <= 1


@pytest.mark.slow
def test_a_walker_finds_back_once_it_was_taught():
    code = example("navigation", 42)
    taught = code.taught("octree graph", 0, errands=60, steps=200)
    assert code.success(taught, "octree graph", 0, 40) > 0.4  # a window of the last notes: about 0.1


def remembered(ours=0.9, window=0.1, goal=0.5, error=1e-6, lost=10.0):
    shares = {remembering.BOTH: ours, remembering.WINDOW: window, remembering.GOAL: goal}
    rows = [row(label, {remembering.DONE: [shares.get(p, 0.5)] * 3}) for p, label in remembering.LABELS.items()]
    return {"rows": rows, "errors": {remembering.KEPT: [error], remembering.FORGOTTEN: [lost]}}


def drafted(at_once=5.0, once=0.02, again=1.0, order=0.0, done=0.74):
    def of(label, share, many, retries):
        found = {drafting.WRITTEN: share, drafting.AT_ONCE: many, drafting.AGAIN: again, drafting.ORDER: order}
        return row(label, {**{t: [v] for t, v in found.items()}, drafting.FORMULA: [drafting.told(retries)]})

    sizes = ((drafting.SIDE, done, at_once, 2), (drafting.SERIAL, done, 1, 2), (drafting.ONCE, once, 5.0, 0))
    return {"rows": [of(*size) for size in sizes], "programs": 400}


def bussed(together=0.9, at=1.0, single=0.0, refused=5, right=9, same=3):
    ways = (messages.CHANGED, messages.SEALED, messages.GONE, messages.SWAPPED)
    rows = [row(label, {"HPC": [0.5 if "rules" in label else together]}) for label in (messages.ALL, *messages.ALONE)]
    rows += [row(label, {w: [v] for w in ways}) for label, v in ((messages.CHAIN, 1.0), (messages.SINGLE, single))]
    return {
        "rows": rows, "systems": ["HPC"], "at": [at], "looked up": {"right": right, "exact": 0, "refused": refused},
        "crashes": {"same": same, "refused": 3},
    }  # fmt: skip


@pytest.mark.parametrize(("entry", "result", "missed"), [
    (remembering.Remembering, remembered(), []),
    (remembering.Remembering, remembered(error=1e-4, lost=0.0), ["read back", "by the token alone"]),
    (remembering.Remembering, remembered(goal=0.85), ["to the note of the goal, and the last five"]),
    (remembering.Remembering, remembered(ours=0.15, goal=0.0), ["to fixed window, the last six"]),
    (drafting.Drafting, drafted(), []),
    (drafting.Drafting, drafted(at_once=3.0, again=0.99), ["side by side", "played again"]),
    (drafting.Drafting, drafted(once=0.08, order=0.2), ["retries", "control: no retries", "control: other times"]),
    (messages.Messages, bussed(), []),
    (messages.Messages, bussed(together=0.8, at=0.98, single=0.5), ["a changed entry", "no chain", "the job"]),
    (messages.Messages, bussed(refused=4, right=8, same=2), ["what nobody can", "in other words", "a crash"]),
])  # fmt: skip
def test_verdicts_follow_the_numbers(entry, result, missed):
    assert [c.id for c in entry().criteria(result) if c.verdict == "no"] == missed
    assert entry().found(result)
