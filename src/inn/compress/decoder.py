"""Opening a decoder of Hugging Face's with its tokenizer, from a folder or a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inn.system.errors import InputError
from inn.system.packages import require


def open_decoder(path: str | Path) -> tuple[Any, Any]:
    """A model in float32, in evaluation mode, and its tokenizer; nothing is downloaded.

    Args:
        path: a folder that `save_pretrained` wrote, compressed models among them, or a GGUF file.

    Raises `InputError` where transformers is not installed, nothing is at `path`, or it cannot be opened.

    Example: ``model, tokenizer = open_decoder("path/to/model")``
    """
    transformers = require("transformers", "a decoder of Hugging Face", "hf")
    import inn.compress.folder  # noqa: F401  (compressed models open too)

    transformers.utils.logging.disable_progress_bar()
    there = Path(path)
    if not there.exists():
        raise InputError(f"model '{path}' does not exist; give a folder with config.json, or a GGUF file")
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(there)}
    if there.is_file():
        where = {"pretrained_model_name_or_path": str(there.parent), "gguf_file": there.name}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"'{path}' cannot be opened by transformers: {' '.join(str(error).split())[:300]}") from error
    return _plain(model) if there.is_file() else model, tokenizer


def encoder(tokenizer: Any) -> Callable[[str], Tensor]:
    """What turns a text of any length into a tokenizer's symbols `[n]` int64."""
    return lambda text: torch.tensor(tokenizer(text, verbose=False)["input_ids"], dtype=torch.long)


def _plain(model: Any) -> Any:
    """A model that was read from a GGUF file as an ordinary one, which can be saved."""
    settings = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    plain = type(model)(type(model.config).from_dict(settings))
    plain.load_state_dict({name: t.float() for name, t in model.state_dict().items()})
    return plain.eval()
