"""Programs made simpler: nothing dead, no needless copies, maps done together; and where their arrays lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from inn.export.program import Buffer, Call, Loop, Map, Op, Operand, Program, Take, View


def simplified(program: Program) -> Program:
    """The same program without what nothing comes of, without copies that need not be, and with maps done together."""
    ops = without_dead(program.ops)
    ops = without_dead(in_place(ops))
    return replace(program, ops=together(squeezed(late(ops))))


def without_dead(ops: Sequence[Op]) -> list[Op]:
    """Without what neither the state nor the output hangs on."""
    wanted: set[Buffer] = set()
    kept = []
    for op in reversed(ops):
        if any(v.buffer.kind in ("state", "output") or v.buffer in wanted for v in op.writes()):
            wanted |= {v.buffer for v in op.reads()}
            kept.append(op)
    return kept[::-1]


def in_place(ops: Sequence[Op]) -> list[Op]:
    """Without whole copies: where the copy can stand for what is copied, or what is copied for the copy.

    A copy `b = a` into work goes where `b` is what a state becomes later on and `a` is that state, not read any more; a
    copy `a = b` of work into state or output goes where what made `b` can write `a` at once.
    """
    ops = list(ops)
    at = len(ops) - 1
    while at >= 0:  # from the end: what is written last comes first
        op = ops[at]
        if isinstance(op, Map) and op.fn == "copy" and isinstance(op.inputs[0], View):
            source, target = op.inputs[0], op.output
            fits = _alike(source, target)
            inner = source.buffer.kind == "work" and target.buffer.kind in ("state", "output")
            if fits and inner and _may_merge(ops, at, source.buffer, target.buffer):
                ops = _renamed(ops[:at] + ops[at + 1 :], source.buffer, target.buffer)
        at -= 1
    # What is left of `state = state`, once the work between them has the state's name.
    return [op for op in ops if not (isinstance(op, Map) and op.fn == "copy" and op.inputs[0] == op.output)]


def _alike(source: View, target: View) -> bool:
    """Whether a copy from one to the other leaves two equal buffers, but for padding."""
    sizes = source.buffer.size == target.buffer.size and source.dtype == target.dtype
    return (
        sizes and (source.shape, source.strides, source.offset) == (target.shape, target.strides, 0) and _once(source)
    )


def _once(view: View) -> bool:
    return all(step for size, step in zip(view.shape, view.strides) if size > 1)


def _may_merge(ops: Sequence[Op], at: int, work: Buffer, target: Buffer) -> bool:
    """Whether `work`, copied to `target` by `ops[at]`, can be `target` from its beginning."""
    born = next(i for i, op in enumerate(ops) if any(v.buffer is work for v in op.writes()))
    if any(v.buffer is target for op in ops[born + 1 : at] for v in (*op.reads(), *op.writes())):
        return False
    if any(v.buffer is target for op in ops[at + 1 :] for v in op.writes()):
        return False
    if any(v.buffer is work for op in ops[at + 1 :] for v in op.writes()):
        return False
    first = ops[born]
    reads = [v for v in first.reads() if v.buffer is target]
    if not reads:
        return True
    if not isinstance(first, Map) or any(isinstance(i, Take) and i.view.buffer is target for i in first.inputs):
        return False
    same = next(v for v in first.writes())  # element by element, each read where it is written
    return all(v.strides == same.strides and v.offset == same.offset for v in reads)


def _renamed(ops: Sequence[Op], old: Buffer, new: Buffer) -> list[Op]:
    """The operations with one buffer in another's place."""

    def view(v: Any) -> Any:
        if isinstance(v, Take):
            return Take(view(v.view), tuple((view(i), step, size) for i, step, size in v.picks))
        return replace(v, buffer=new) if isinstance(v, View) and v.buffer is old else v

    found: list[Op] = []
    for op in ops:
        if isinstance(op, Map):
            found.append(replace(op, inputs=tuple(map(view, op.inputs)), output=view(op.output)))
        elif isinstance(op, Call):
            parts = {name: tuple(map(view, getattr(op, name))) for name in ("inputs", "outputs", "changes")}
            found.append(replace(op, **parts))
    return found


def late(ops: Sequence[Op]) -> list[Op]:
    """Each map as late as it may be done: right before what reads it, so that maps stand side by side."""
    found: list[Op] = []  # from the end
    for op in reversed(ops):
        at = len(found)
        if isinstance(op, Map) and op.output.buffer.kind == "work":
            own = {v.buffer for v in op.reads()}
            while at and not any(
                v.buffer is op.output.buffer for v in (*found[at - 1].reads(), *found[at - 1].writes())
            ):
                if any(v.buffer in own for v in found[at - 1].writes()):
                    break
                at -= 1
        found.insert(at, op)
    return found[::-1]


def squeezed(ops: Sequence[Op]) -> list[Op]:
    """Maps without the axes that have one number."""

    def operand(one: Operand, shape: Sequence[int]) -> Operand:
        if isinstance(one, Take):
            return Take(one.view.squeezed(shape), tuple((v.squeezed(shape), step, size) for v, step, size in one.picks))
        return one.squeezed(shape) if isinstance(one, View) else one

    return [
        replace(
            op, inputs=tuple(operand(i, op.output.shape) for i in op.inputs), output=op.output.squeezed(op.output.shape)
        )
        if isinstance(op, Map)
        else op
        for op in ops
    ]


def together(ops: Sequence[Op]) -> list[Op]:
    """Maps that follow one another, over one shape, as one loop."""
    last_read = {v.buffer: i for i, op in enumerate(ops) for v in op.reads()}
    found: list[Op] = []
    group: list[Map] = []

    def close(until: int) -> None:
        if group:
            inner = {
                m.output.buffer
                for m in group
                if m.output.buffer.kind == "work" and last_read.get(m.output.buffer, 0) < until
            }
            read_elsewhere = {
                v.buffer for m in group for v in m.reads() if v.buffer in inner and not _where_written(v, group)
            }
            found.append(Loop(group[0].output.shape, tuple(group), frozenset(inner - read_elsewhere)))
            group.clear()

    for i, op in enumerate(ops):
        if not isinstance(op, Map):
            close(i)
            found.append(op)
            continue
        if group and not _joins(op, group):
            close(i)
        group.append(op)
    close(len(ops))
    return found


def _joins(op: Map, group: Sequence[Map]) -> bool:
    """Whether a map can be done in the same pass over the elements as those before it."""
    if op.output.shape != group[0].output.shape:
        return False
    written = {m.output.buffer for m in group}
    if any(v.buffer in written and not _where_written(v, group) for v in op.reads()):
        return False
    if any(isinstance(i, Take) and i.view.buffer in written for i in op.inputs):
        return False
    # What it writes must not be read before it by a later element.
    out = op.output
    return out.buffer not in written and all(
        (v.strides, v.offset) == (out.strides, out.offset) for m in group for v in m.reads() if v.buffer is out.buffer
    )


def _where_written(view: View, group: Sequence[Map]) -> bool:
    return any(
        m.output.buffer is view.buffer and (m.output.strides, m.output.offset) == (view.strides, view.offset)
        for m in group
    )


def laid_out(
    program: Program, kind: Callable[[Buffer], str], align: int = 16
) -> tuple[dict[Buffer, int], dict[str, int]]:
    """Where each work buffer lies in the arrays that hold all of its kind, by liveness; and their sizes.

    Args:
        kind: the array of a buffer (its type in the printed language).
        align: places begin at multiples of it.
    """
    ends: dict[Buffer, int] = {}
    for i, op in enumerate(program.ops):
        for v in (*op.reads(), *op.writes()):
            if v.buffer.kind == "work":
                ends[v.buffer] = i
    places: dict[Buffer, int] = {}
    sizes: dict[str, int] = {}
    live: list[Buffer] = []
    for i, op in enumerate(program.ops):
        live = [b for b in live if ends[b] >= i]
        for v in op.writes():
            b = v.buffer
            if b.kind != "work" or b in places:
                continue
            room = -(-b.size // align) * align
            taken = sorted((places[o], places[o] + -(-o.size // align) * align) for o in live if kind(o) == kind(b))
            place = 0
            for start, end in taken:
                if place + room <= start:
                    break
                place = max(place, end)
            places[b] = place
            sizes[kind(b)] = max(sizes.get(kind(b), 0), place + room)
            live.append(b)
    return places, sizes


def merged(loop: Loop) -> tuple[list[Map], tuple[int, ...]]:
    """A loop's maps with axes that run through every array as one made into one."""
    maps = list(loop.maps)
    axis = len(loop.shape) - 1
    while axis > 0:
        views = [v for m in maps for v in (*m.reads(), *m.writes())]
        size = views[0].shape[axis]
        if all(v.strides[axis - 1] == v.strides[axis] * size for v in views):
            maps = [
                Map(m.fn, tuple(_merged(i, axis) for i in m.inputs), _merged(m.output, axis), m.dtype, m.part)
                for m in maps
            ]
        axis -= 1
    return maps, maps[0].output.shape


def _merged(one: Any, axis: int) -> Any:
    if isinstance(one, Take):
        return Take(_merged(one.view, axis), tuple((_merged(v, axis), step, size) for v, step, size in one.picks))
    if not isinstance(one, View):
        return one
    shape = (*one.shape[: axis - 1], one.shape[axis - 1] * one.shape[axis], *one.shape[axis + 1 :])
    return View(one.buffer, shape, (*one.strides[: axis - 1], *one.strides[axis:]), one.offset)
