"""A model as packages of PyTorch: one step for `torch.export.load`, and compiled for C++."""

from __future__ import annotations

from pathlib import Path

import torch

from inn.config.exports import PT2Options
from inn.export.folders import README, text, write_readme, write_vocabulary
from inn.export.step import Program, quiet, stepped
from inn.models.sequence import SequenceModel
from inn.runs.exported import PRIVATE

MODEL, COMPILED, STATE, EXAMPLE = "model.pt2", "compiled.pt2", "state.pt", "step.cpp"
_FILES = {
    MODEL: "one step, for `torch.export.load`",
    COMPILED: "one step, compiled",
    STATE: "the state that a stream starts from",
    EXAMPLE: "runs the compiled step from C++",
}
_COMPILED = """
`compiled.pt2` is the same, compiled by AOTInductor for processors like the one it was compiled on; `step.cpp` runs it.
In Python: `torch._inductor.aoti_load_package("compiled.pt2")`.
"""


class PT2:
    """A step as PyTorch packages that need PyTorch alone: exported, and compiled where there is a compiler.

    Example: ``inn.export.export("runs/demo", "exported", to="pt2")``
    """

    def __init__(self, options: PT2Options):
        self.options = options

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        """See `inn.export.Export`."""
        program, told = stepped(model), [f"{README} says what goes in and comes out"]
        for node in program.exported.graph.nodes:
            node.meta.pop("stack_trace", None)  # where code came from is of this machine
        if self.options.compiled:
            reason = compiled(program, folder / COMPILED)
            told.append(
                f"{COMPILED} was left out: {reason}" if reason else f"{COMPILED} is for processors like this one"
            )
        if (folder / COMPILED).exists():
            (folder / EXAMPLE).write_text(text(EXAMPLE), encoding="utf-8")
        program.exported.example_inputs = None  # which would hold the tables of recall
        torch.export.save(program.exported, folder / MODEL)
        torch.save([t.clone() for t in program.state.values()], folder / STATE)
        write_vocabulary(model, folder)
        aside = _COMPILED if (folder / COMPILED).exists() else ""
        write_readme("pt2.md", model, program, folder, _FILES, torch=torch.__version__, compiled=aside)
        return [*told, *([] if model.experience is None else [f"{STATE} {PRIVATE}"])]


def compiled(program: Program, path: Path) -> str | None:
    """Compile a step by AOTInductor into a package at `path`; what stood in the way, or None."""
    try:
        with quiet():
            torch._inductor.aoti_compile_and_package(program.exported, package_path=str(path))
    except Exception as error:  # no compiler, or one that fails, in the words of whatever raised it
        path.unlink(missing_ok=True)
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None
