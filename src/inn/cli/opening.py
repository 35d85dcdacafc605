"""Opening whatever model a command is given, an INN of ours or a decoder of Hugging Face's, and a text for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inn.system.errors import InputError

if TYPE_CHECKING:
    import torch


def is_inn(path: Path) -> bool:
    """Whether there is a run, a checkpoint of one, or an exported folder."""
    from inn.runs.exported import is_exported

    return (path / "config.yaml").is_file() or path.parent.name == "checkpoints" or is_exported(path)


def open_decoder(path: str) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer, from a folder or a GGUF file; nothing is downloaded."""
    try:
        import transformers
    except ImportError:
        raise InputError("a decoder of Hugging Face needs transformers; pip install 'inn-torch[hf]'") from None
    import torch

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


def _plain(model: Any) -> Any:
    """A model that was read from a GGUF file as an ordinary one, which can be saved."""
    settings = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    plain = type(model)(type(model.config).from_dict(settings))
    plain.load_state_dict({name: t.float() for name, t in model.state_dict().items()})
    return plain.eval()


def symbols_of(path: str, encode: Callable[[str], Any]) -> torch.Tensor:
    """A text file as symbols `[n]` int64."""
    import numpy as np
    import torch

    from inn.system.files import plain_errors

    with plain_errors(path):
        content = Path(path).read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte 0x{content[error.start]:02x} at {error.start:,}") from None
    return torch.as_tensor(np.asarray(encode(text)).astype(np.int64))
