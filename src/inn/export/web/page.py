"""The export `web`: what the kind `web` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inn.config.exports import WebOptions
from inn.data.base import Vocabulary
from inn.explorer.page import build_page
from inn.export.trace import program_of
from inn.export.web.model import as_script
from inn.export.web.wasm import compiled, why_not
from inn.models.inn import INN
from inn.models.sequence import SequenceModel
from inn.runs.exported import PRIVATE
from inn.system.errors import InputError

PAGE = "index.html"


class Web:
    """One HTML file in which a person types, watches the graph read, silences neurons, and lets it write.

    Example: ``inn.export.export("runs/demo", "page", to="web")``
    """

    def __init__(self, options: WebOptions) -> None:
        self.options = options

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        live = live_model(model, self.options)
        text = build_page([{"name": home.absolute().name}], **live)
        (folder / PAGE).write_text(text, encoding="utf-8")
        said = [f"open {PAGE} in a browser: {len(text) / 1e6:.2f} MB, with the model inside; it needs no network"]
        if self.options.wasm and (reason := why_not()):
            said.append(f"it computes in JavaScript: for WebAssembly, {reason}")
        if model.experience is not None and not self.options.fresh:
            said.append(f"the page {PRIVATE} (--web.fresh true)")
        return said


def live_model(model: SequenceModel, options: WebOptions) -> dict[str, Any]:
    """What `build_page` takes for a page with this model inside: `play` and `model`.

    Raises `InputError` for a model that is no graph of neurons, or reads neither characters nor bytes.
    """
    if not isinstance(model, INN):
        raise InputError(
            f"a page shows neurons of models of kind 'inn', not a {type(model).__name__}; export a run of that kind"
        )
    vocabulary = model.vocabulary
    if vocabulary is None or vocabulary.kind not in ("characters", "bytes"):
        kind = "no vocabulary" if vocabulary is None else f"vocabulary '{vocabulary.kind}'"
        raise InputError(f"a page reads characters or bytes, and this model has {kind}; export it --to onnx")
    program = program_of(model, None if options.fresh else model.experience, watched=True)
    routing = [t.shape[1] for t in program.told if t.name == "routing"]
    facts = {"neurons": model.config.neurons, "rounds": model.config.rounds, "heads": routing[0] if routing else 1}
    wasm = compiled(program) if options.wasm and why_not() is None else None
    script, packs = as_script(program, options.int8, facts, wasm)
    given = {**packs, "vocabulary": symbols_of(vocabulary)}
    play = {"neurons": model.config.neurons, "text": options.text, "unit": vocabulary.unit, "model": given}
    return {"play": play, "model": script}


def symbols_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """A vocabulary as the page reads it."""
    labels = [vocabulary.symbol(i) for i in range(vocabulary.size)]
    symbols = [vocabulary.decode([i]) for i in range(vocabulary.size)] if vocabulary.kind == "characters" else []
    return {"kind": vocabulary.kind, "unit": vocabulary.unit, "symbols": symbols, "labels": labels}
