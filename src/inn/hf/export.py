"""The export `hf`: a folder that `transformers` opens."""

from __future__ import annotations

from pathlib import Path

from transformers import GenerationConfig
from transformers.utils import logging

from inn.config.parts import Options
from inn.data.tokens import Tokens
from inn.hf.model import INNForCausalLM
from inn.hf.tokenizer import build_tokenizer
from inn.models.sequence import SequenceModel
from inn.models.signal import SignalModel
from inn.runs.beside import GENERATION, carry, fields_of
from inn.runs.card import CARD, model_card
from inn.runs.directory import Run
from inn.runs.exported import EXPERIENCE, PRIVATE, save_exported


class HuggingFace:
    """A folder that `transformers` opens; a model of signals, which it cannot be given, is for `inn.load` alone.

    Example: ``inn.export.export("runs/demo", "exported", to="hf")``
    """

    def __init__(self, options: Options) -> None:
        """It has no options."""

    def write(self, model: SequenceModel, folder: Path, home: Path) -> list[str]:
        signals = isinstance(model, SignalModel)
        if signals:
            save_exported(model, folder)
        else:
            write(INNForCausalLM.wrap(model), folder, home)  # type: ignore[arg-type]
        (folder / CARD).write_text(model_card(model, Run(home)), encoding="utf-8")
        said = ["inn.load of this folder opens it"]
        if not signals:
            said = ["AutoModelForCausalLM.from_pretrained of this folder opens it after `import inn.hf`"]
        if (folder / EXPERIENCE).exists():
            said.append(f"{EXPERIENCE} {PRIVATE}")
        return said


def write(model: INNForCausalLM, folder: Path, home: Path | None = None) -> None:
    """Write a model, with its tokenizer where it has a vocabulary, into a folder.

    `home`: the folder that it comes from; what that says of a tokenizer, and of how text is drawn, goes along.
    """
    vocabulary = model.inn.vocabulary
    if vocabulary is not None:
        tokenizer = build_tokenizer(vocabulary, home)
        own = {  # from all symbols, as `inn generate` draws
            "bos_token_id": tokenizer.bos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "do_sample": True,
            "top_k": 0,
        }
        given = {} if home is None else fields_of(home / GENERATION)
        given = {name: value for name, value in given.items() if not name.startswith(("_", "transformers", "cache"))}
        model.generation_config = GenerationConfig(**{**own, **given})
        tokenizer.save_pretrained(folder)
        if home is not None and isinstance(vocabulary, Tokens):
            carry(home, folder, ("additional_chat_templates",))
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()
