"""A step as a program: what its passes take out and put together, and what stays."""

import pytest
import torch

import inn
from inn.export.passes import in_place, laid_out, late, squeezed, together, without_dead
from inn.export.program import Buffer, Call, Loop, Map, Take, View, strides_of
from inn.export.trace import program_of


def array(name, *shape, kind="work", dtype="float32"):
    buffer = Buffer(name, kind, shape, dtype)
    return View(buffer, shape, strides_of(shape))


def copy(source, target):
    return Map("copy", (source,), target, target.dtype, "")


def add(a, b, to):
    return Map("add", (a, b), to, "float32", "")


def test_what_nothing_comes_of_is_left_out():
    a, b, out = array("a", 3), array("b", 3), array("out", 3, kind="output")
    ops = [add(a, a, b), add(a, a, out), add(out, out, array("c", 3))]
    assert without_dead(ops) == ops[1:2]


def test_a_copied_state_is_changed_where_it_is():
    state, work, out = array("s", 4, kind="state"), array("w", 4), array("out", 4, kind="output")
    change = Call("change", (), (), {}, "", (work,))
    found = in_place([copy(state, work), change, copy(work, out), copy(work, state)])
    assert [op.writes().__next__().buffer.name for op in found] == ["s", "out"]
    assert next(found[1].reads()).buffer is state.buffer


def test_a_state_that_is_read_once_more_is_copied():
    state, work, out = array("s", 4, kind="state"), array("w", 4), array("out", 4, kind="output")
    change = Call("change", (), (), {}, "", (work,))
    ops = [copy(state, work), change, copy(state, out), copy(work, state)]
    assert in_place(ops) == ops


def test_a_state_that_is_read_elsewhere_than_it_is_written_is_not_made_in_place():
    state, work = array("s", 4, kind="state"), array("w", 4)
    turned = View(state.buffer, (4,), (-1,), 3)
    ops = [add(turned, turned, work), copy(work, state)]
    assert in_place(ops) == ops
    assert len(in_place([add(state, state, work), copy(work, state)])) == 1


def test_maps_are_done_together_where_each_number_is_read_where_it_is_written():
    a, b, c, out = (
        array("a", 3, 1, 2, kind="weight"),
        array("b", 3, 1, 2),
        array("c", 3, 2),
        array("out", 3, 2, kind="output"),
    )
    seen = View(b.buffer, (3, 2), (2, 1))
    (loop,) = together(squeezed([add(a, a, b), add(seen, seen, c), add(c, c, out)]))
    assert isinstance(loop, Loop)
    assert loop.shape == (3, 2)
    assert {b.name for b in loop.inner} == {"b", "c"}
    other = View(b.buffer, (3, 2), (0, 1))  # reads the first row for all: b has to be there before
    assert [len(loop.maps) for loop in together(squeezed([add(a, a, b), add(other, other, c), add(c, c, out)]))] == [
        1,
        2,
    ]


def test_what_is_looked_up_is_there_before():
    a, out = array("a", 3), array("out", 3, kind="output")
    places = array("places", 3, dtype="int64", kind="input")
    take = Take(View(a.buffer, (3,), (0,)), ((places, 1, 3),))
    assert len(together([add(out, out, a), copy(take, out)])) == 2


def test_maps_wait_for_what_reads_them_but_not_past_what_changes_what_they_read():
    state, a, b = array("s", 3, kind="state"), array("a", 3), array("b", 3)
    early = add(state, state, a)
    other = Call("other", (), (b,), {}, "")
    change = Call("change", (), (), {}, "", (state,))
    last = add(a, b, array("out", 3, kind="output"))
    assert late([early, other, last]) == [other, early, last]
    assert late([early, change, other, last]) == [early, change, other, last]


def test_arrays_that_live_at_once_do_not_overlap():
    program = program_of(inn.INN(vocab=9, neurons=2, width=8, rounds=2).eval())
    places, sizes = laid_out(program, lambda b: b.dtype)
    lives = {
        b: [i for i, op in enumerate(program.ops) for v in (*op.reads(), *op.writes()) if v.buffer is b] for b in places
    }
    for b, mine in lives.items():
        assert places[b] + b.size <= sizes[b.dtype]
        for o, others in lives.items():
            if o is not b and o.dtype == b.dtype and mine[0] <= others[-1] and others[0] <= mine[-1]:
                assert places[b] + b.size <= places[o] or places[o] + o.size <= places[b]
    assert sum(sizes.values()) < sum(b.size for b in places)


@pytest.mark.parametrize("recall", ["last", "counts"])
def test_tables_are_never_copied_and_what_is_known_is_worked_out(recall):
    model = inn.INN(vocab=9, neurons=2, width=8, rounds=1, recall={"kind": recall, "slots": 16}).eval()
    program = program_of(model)
    maps = [m for op in program.ops if isinstance(op, Loop) for m in op.maps]
    states = {b.name for b in program.states}
    assert {"recall_table", "round0_ssm", "round0_conv"} <= states
    written = {v.buffer.name for m in maps for v in m.writes() if v.buffer.kind == "state"}
    assert written == {"recall_recent"}
    assert "neg" not in {m.fn for m in maps}  # -exp(A_log) is a weight
    decays = next(op for op in program.ops if isinstance(op, Call) and op.name == "scan").inputs[5].buffer
    expected = -model.graph.rounds[0].memory.A_log.exp().transpose(1, 2)
    assert torch.equal(decays.data[..., : expected.shape[-1]], expected)
