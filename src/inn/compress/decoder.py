"""Opening a decoder of Hugging Face's with its tokenizer: a folder, a GGUF file, or a name in Hugging Face's cache."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inn.system.errors import InputError
from inn.system.packages import require

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WEIGHTS = ("safetensors", "bin", "gguf")


class Frame(NamedTuple):
    """The symbols that stand before and after every stretch of text that a model reads."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.before) + len(self.after)

    def room(self, length: int) -> int:
        """How many symbols of text a row of this length has; raises `InputError` for fewer than two."""
        if length - self.size < min(2, length):
            raise InputError(f"rows of {length} symbols leave no room beside the {self.size} that a text begins with")
        return length - self.size

    def around(self, rows: Tensor) -> Tensor:
        """Rows of text `[S, T]` with them, `[S, T + size]`."""
        sides = (rows.new_tensor(side).expand(len(rows), -1) for side in self)
        first, last = sides
        return torch.cat([first, rows, last], 1) if self.size else rows


NO_FRAME = Frame()


def find_decoder(path: str | Path) -> Path:
    """Where a model is: the folder or file itself, or what the Hugging Face cache has of that name.

    Raises `InputError` where it is neither; nothing is downloaded.
    """
    there = Path(path)
    if there.exists():
        return there
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path)):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(str(path), local_files_only=True))
        except (OSError, ValueError):
            pass
    raise InputError(
        f"model '{path}' does not exist; give a folder with config.json, a GGUF file, or the name of a model that is "
        "in the Hugging Face cache (`hf download NAME` puts it there)"
    )


def open_decoder(
    path: str | Path, dtype: str | torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Any, Any]:
    """A model in evaluation mode and its tokenizer; nothing is downloaded.

    Args:
        path: see `find_decoder`; a folder is one that `save_pretrained` wrote, compressed models among them.
        dtype: of its numbers; `auto` is the one that the file has them in, bfloat16 where a GGUF file has a few bits.
        device: where it is put.

    Raises `InputError` where transformers is not installed, nothing is at `path`, it cannot be opened, or weights are
    missing, which transformers would draw at random.

    Example: ``model, tokenizer = open_decoder("path/to/model")``
    """
    transformers = require("transformers", "a decoder of Hugging Face", "hf")
    import inn.compress.folder  # noqa: F401  (compressed models open too)

    there = find_decoder(path)
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(there)}
    options: dict[str, Any] = {"dtype": DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype}
    with opening(path):
        if there.is_file():
            where = {"pretrained_model_name_or_path": str(there.parent), "gguf_file": there.name}
            if dtype == "auto":
                options["dtype"] = _gguf_dtype(there)
            if hasattr(transformers, "GgufConfig"):
                options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        else:
            refuse_others(path, transformers.AutoConfig.from_pretrained(there))
        model, told = transformers.AutoModelForCausalLM.from_pretrained(**where, **options, output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    if missing := sorted(told["missing_keys"]):
        raise InputError(
            f"'{path}' lacks weights of {type(model).__name__} ({missing[0]}, {len(missing)} in all): it is damaged, "
            "or no language model"
        )
    if there.is_file() and getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer.remove_quantization_config(model)  # its numbers are ordinary ones by now
    return model.eval().to(device), tokenizer


@contextmanager
def opening(path: str | Path) -> Iterator[None]:
    """What transformers does with a path meanwhile: in silence, and whatever goes wrong is an `InputError`."""
    import transformers

    shown = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # what it would warn of is an error here
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a broken file fails in whatever library reads it, each with its own kind of error
        raise InputError(f"'{path}' cannot be opened by transformers: {' '.join(str(error).split())[:300]}") from error
    finally:
        transformers.utils.logging.set_verbosity(shown)


def refuse_others(path: str | Path, config: Any) -> None:
    """Raise `InputError` for what is no decoder."""
    import transformers

    if type(config) not in transformers.AutoModelForCausalLM._model_mapping:
        raise InputError(
            f"'{path}' is a model of type {config.model_type}, which is no decoder; give one such as Llama, or "
            "compress an encoder of texts or pictures in Python (inn.compress.compress)"
        )


def weight_bytes(path: str | Path) -> int:
    """The bytes of a model's weights on the disk, in a folder or a file; of its safetensors where it has any."""
    there = Path(path)
    if there.is_file():
        return there.stat().st_size
    for ending in _WEIGHTS:
        if found := sum(file.stat().st_size for file in there.glob(f"*.{ending}")):
            return found
    return 0


def encoder(tokenizer: Any) -> Callable[[str], Tensor]:
    """What turns a text of any length into symbols `[n]` int64, without those that a tokenizer sets around it."""
    return lambda text: torch.tensor(
        tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=torch.long
    )


def frame_of(tokenizer: Any, chat: bool = False) -> Frame:
    """What a tokenizer begins a text with, such as `<bos>`; for `chat` what its template has around a user's message.

    Raises `InputError` where it has no template.
    """
    word = "stretch"
    if not chat:
        inside, whole = (list(tokenizer(word, add_special_tokens=add)["input_ids"]) for add in (False, True))
        at = next((i for i in range(len(whole)) if whole[i : i + len(inside)] == inside), 0)
        return Frame(tuple(whole[:at]))
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("--chat: the model's tokenizer has no chat template; leave --chat out")
    text = tokenizer.apply_chat_template([{"role": "user", "content": word}], tokenize=False)
    before, found, after = text.rpartition(word)
    if not found:
        raise InputError("--chat: the model's chat template leaves a user's message out; leave --chat out")
    encode = encoder(tokenizer)
    return Frame(tuple(encode(before).tolist()), tuple(encode(after).tolist()))


def _gguf_dtype(file: Path) -> torch.dtype:
    """The type that most of a GGUF file's numbers have; bfloat16 for those of a few bits."""
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]

    numbers: Counter[str] = Counter()
    for tensor in GGUFReader(str(file)).tensors:
        numbers[tensor.tensor_type.name] += int(tensor.n_elements)
    most = numbers.most_common(1)[0][0]
    return {"F32": torch.float32, "F16": torch.float16}.get(most, torch.bfloat16)
