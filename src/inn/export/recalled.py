"""What the operations of recall become in a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node

from inn.export.lowering import Lowering, Value
from inn.export.program import View
from inn.system.errors import InputError


def changed(low: Lowering, node: Node, op: Any, **given: Any) -> list[Value]:
    """An operation that changes tables: they are copied first, and the copy is left out where it need not be."""
    bases = [low.map("copy", base.shape, base.dtype, base) for base in given["_all_bases"]]

    def table(name: str) -> View:
        base = bases[given[f"_{name}_base_index"]]
        size = given.get(f"_{name}_size")
        if size is None:
            return base
        return View(base.buffer, tuple(size), tuple(given[f"_{name}_stride"]), given[f"_{name}_storage_offset"])

    name = str(op).removesuffix(".default")
    if name == "inn.recall":
        shape = tuple(node.meta["val"][0].shape)
        out = low.work(shape, "int64")
        symbol, tables, recent = low.view(given["tokens"]), table("table"), table("recent")
        low.call("recall", (symbol,), (out,), (tables, recent), orders=list(given["orders"]))
        return [out, *bases]
    if name == "inn.counts":
        found, last = (low.work(tuple(t.shape), "int32") for t in node.meta["val"][:2])
        inputs = tuple(low.dense(given[key]) for key in ("tokens", "before", "after"))
        low.call("counts", inputs, (found, last), (table("table"),), narrow=bool(given["narrow"]))
        return [found, last, *bases]
    raise InputError(
        f"{low.part} of this {low.model} takes the operation '{name}', which an export to code has no form of"
    )


def keys(
    low: Lowering, node: Node, tokens: Value, recent: Value, specs: Sequence[int], letters: Value, *args: Any
) -> list[Value]:
    """Keys of contexts before and after a symbol, and the symbols read last."""
    before, after, now = (low.work(tuple(t.shape), "int64") for t in node.meta["val"])
    known = None if letters is None else low.dense(letters)
    low.call("keys", (low.view(tokens), low.dense(recent), known), (before, after, now), specs=list(specs))
    return [before, after, now]


def expected(low: Lowering, node: Node, found: Value, last: Value, table: Value, symbols: Value) -> View:
    """Vectors of followers, summed."""
    out = low.work(tuple(node.meta["val"].shape), "float32")
    low.call("expected", tuple(low.dense(v) for v in (found, last, table, symbols)), (out,))
    return out


def votes(low: Lowering, node: Node, found: Value, last: Value, table: Value, weights: Value, vocab: int) -> View:
    """Votes of followers, summed."""
    out = low.work(tuple(node.meta["val"].shape), "float32")
    low.call("votes", tuple(low.dense(v) for v in (found, last, table, weights)), (out,))
    return out


RECALLED: dict[str, Callable[..., Any]] = {
    "auto_functionalized_v2": changed,
    "inn.keys": keys,
    "inn.expected_fwd": expected,
    "inn.votes_fwd": votes,
}
