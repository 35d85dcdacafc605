"""`inn export RUN DIR --to c`: a trained model as C99 that needs no library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inn.config.exports import COptions
from inn.data.vocabulary import Bytes, Characters
from inn.export.c.saved import saved
from inn.export.c.source import single, source_of, template
from inn.export.trace import program_of
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.system.errors import InputError

STATE = "state.bin"
"""A state to begin with: what a run has recalled."""


class C:
    """A model as `model.c`, `model.h` and `model.bin`, with a `main.c` that scores and generates."""

    def __init__(self, options: COptions):
        self.options = options

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        """Write the files; see `inn.export.Export`."""
        if isinstance(model, SignalModel):
            raise InputError("an export to C takes models of symbols; a model of signals has none")
        title = f"A {type(model).__name__} of {model.num_parameters:,} parameters, written by INN"
        program = program_of(model.eval())
        source = source_of(program, title, texts_of(model), self.options.int8)
        texts = {"model.h": source.header, "model.c": source.code, "main.c": template("main.c")}
        if self.options.single:
            texts = {"model.h": single(source), "main.c": texts["main.c"]}
        else:
            (folder / "model.bin").write_bytes(source.weights)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        given = "-DMODEL_IMPLEMENTATION main.c" if self.options.single else "main.c model.c"
        said = [f"cc -O3 -march=native -o model {given} -lm", "./model score < TEXT; ./model generate < PROMPT"]
        if model.experience is not None and self.options.experience:
            (folder / STATE).write_bytes(saved(program, source.fingerprint, model.experience))
            said.append(f"{STATE} holds what the run read last, for -e {STATE}: do not publish it if that was private")
        return said


def texts_of(model: Any) -> list[bytes] | None:
    """What each symbol is in a text, in UTF-8; None where symbols are no pieces of text by themselves."""
    vocabulary = getattr(model, "vocabulary", None)
    if isinstance(vocabulary, Bytes):
        return [bytes([i]) for i in range(256)]
    if isinstance(vocabulary, Characters):
        return [vocabulary.decode([i]).encode("utf-8", "surrogatepass") for i in range(vocabulary.size)]
    return None
