"""Writing by a model in C, compiled here, beside `inn generate` and beside reading its weights once."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from inn.config.exports import COptions
from inn.export.c.write import C
from inn.models.generate import generate
from inn_benchmarks.measure import NORMAL, Effort, in_turns, spread
from inn_benchmarks.rows import Measured, Skipped
from inn_benchmarks.score import untrained

COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class TextSize:
    """A model like that of recipe `text8-last`, and the symbols that are written."""

    model: dict[str, Any] = field(default_factory=lambda: {"neurons": 8, "width": 19, "rounds": 4})
    prompt: str = "the graph of "
    tokens: int = 500
    compiled: int = 20_000


def c_step(size: TextSize = TextSize(), effort: Effort = NORMAL) -> Measured:
    """Symbols a second of the exported program, the start of its process included ÷ those of `inn generate`.

    In the details: both in symbols a second, the same with weights of 8 bits, and `reading`, how often a second one
    core sums up as many bytes as the weights have, again and again: no step can be faster that reads them all.
    """
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None:
        raise Skipped(f"no C compiler ({', '.join(COMPILERS)}) on this machine")
    model = untrained(size.model)
    with TemporaryDirectory() as there:
        works: dict[str, Any] = {"inn": lambda: list(generate(model, size.prompt, size.tokens))}
        for name, int8 in (("c", False), ("int8", True)):
            folder = Path(there) / name
            folder.mkdir()
            C(COptions(int8=int8)).write(model, folder, folder)
            command = [compiler, "-O3", "-march=native", "-o", "model", "main.c", "model.c", "-lm"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            run = [str(folder / "model"), "generate", "-n", str(size.compiled)]
            given: dict[str, Any] = {
                "cwd": folder,
                "input": size.prompt.encode(),
                "check": True,
                "capture_output": True,
            }
            works[name] = partial(subprocess.run, run, **given)
        weights = (Path(there) / "c" / "model.bin").stat().st_size
        numbers = torch.ones(weights // 4)
        threads = torch.get_num_threads()

        def reading() -> None:
            torch.set_num_threads(1)
            numbers.sum()
            torch.set_num_threads(threads)

        times = in_turns({**works, "reading": reading}, effort)
    done = {"inn": size.tokens, "c": size.compiled, "int8": size.compiled, "reading": 1}
    speeds = {name: done[name] / one.median for name, one in times.items()}
    c = model.config
    return Measured(
        speeds["c"] / speeds["inn"],
        "float32",
        f"N {c.neurons}, D {c.width}, {c.rounds} rounds, {model.num_parameters:,} parameters, {weights / 1e6:.2f} MB",
        {"per_s": speeds, "seconds": spread(times), "compiler": compiler, "threads": {"inn": threads, "c": 1}},
    )
