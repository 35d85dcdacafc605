"""The rooms of the library keep their order: what is read from the source alone, nothing of it is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
ROOMS = (
    "system registry config ops nn data models runs inference analysis training "
    "compress surgery testing hf sklearn explorer export server sweep inn cli __main__"
).split()
"""From the bottom to the top; imports lead down only. `inn` is the package's own face."""
LONG: set[str] = set()
"""Files that are still above 350 lines; this list only shrinks."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    paths = {path.relative_to(SOURCE).with_suffix(""): path for path in SOURCE.glob("inn/**/*.py")}
    return {".".join(p.parts[:-1] if p.name == "__init__" else p.parts): path for p, path in paths.items()}


def imports(name: str, types: bool) -> Iterator[tuple[str, int]]:
    """The modules of the package that one imports, anywhere in it, and where; `types`: for type checkers too."""
    left = [ast.parse(modules()[name].read_text(encoding="utf-8"))]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [part if part in modules() else node.module or "" for part in parts]
        else:
            continue
        yield from ((target, node.lineno) for target in found if target in modules() and target != name)


def height(name: str) -> int:
    return ROOMS.index(name.split(".")[1] if "." in name else name)


def test_every_room_has_its_place():
    assert {name.split(".")[1] for name in modules() if "." in name} <= set(ROOMS)
    assert len(list(SOURCE.glob("inn/*.py"))) <= 5


def test_imports_lead_down():
    up = [
        f"{name}:{line} imports {target}"
        for name in modules()
        for target, line in imports(name, types=True)
        if height(target) > height(name)
    ]
    assert up == []


def test_no_circles():
    graph = {name: {target for target, _ in imports(name, types=False)} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_no_submodule_is_hidden():
    hidden = []
    for package, path in modules().items():
        if path.name != "__init__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = [alias for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names]
        bound = {alias.asname or alias.name for alias in imported}
        bound |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        bound |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        listed = [n.elts for n in ast.walk(tree) if isinstance(n, ast.List)]  # __all__
        bound |= {e.value for elements in listed for e in elements if isinstance(e, ast.Constant)}
        hidden += [f"{package}.{name}" for name in bound if f"{package}.{name}" in modules()]
    assert hidden == []


def test_files_are_short():
    long = {
        path.relative_to(SOURCE / "inn").as_posix()
        for path in SOURCE.glob("inn/**/*.*")
        if path.suffix in (".py", ".js", ".css", ".html") and not path.stem.endswith("_kernels")
        if len(path.read_text(encoding="utf-8").splitlines()) > 350
    }
    assert long == LONG


def test_only_commands_print():
    printing = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        if not name.startswith("inn.cli.")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
    ]
    assert printing == []


SHARED = {"inn.cli.commands", "inn.cli.common", "inn.cli.completion", "inn.cli.display"}


def test_commands_do_not_import_one_another():
    """A long command has parts of its own, as `compress_spikes` is one of `compress`."""
    crossing = [
        f"{name}:{line} imports {target}"
        for name in modules()
        if name.startswith("inn.cli.")
        for target, line in imports(name, types=True)
        if target.startswith("inn.cli.") and target not in SHARED and not target.startswith(f"{name}_")
    ]
    assert crossing == []
