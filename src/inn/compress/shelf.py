"""A decoder whose layers stay in their files: one of them is in memory at a time, and what becomes of it is written.

The layers' parameters are on the meta device. Before a layer runs it is read from safetensors, and the one before it
is let go; so all that runs layer by layer (`inn.compress.calibrate.Stream`, the model itself) runs as in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inn.compress.blocks import SHELF, layers_of
from inn.compress.decoder import DTYPES, opening, refuse_others
from inn.compress.modules import InputStates, NeuronalLinear
from inn.system.errors import InputError
from inn.system.packages import require

_INDEX = "model.safetensors.index.json"


class Shelf:
    """The layers of a decoder in files, and which of them are in memory.

    Args:
        model: its layers' parameters, and those only, on the meta device.
        files: where each number of the model's state dict is.
        out: a folder for what is changed.
    """

    def __init__(self, model: nn.Module, files: Mapping[str, Path], out: Path):
        self.model, self.out = model, out
        self.path, layers = layers_of(model)
        self.layers = tuple(layers)  # others stand in their places now and then (`inn.compress.entry`)
        self.source, self.files = dict(files), dict(files)
        self.here: set[int] = set()
        """Layers that are in memory."""
        self.kept: set[int] = set()
        """Those of them that are being changed."""
        self.written: set[int] = set()
        self.shared: dict[int, str] = {}
        """Where input states are stored that have been written, by their identity."""
        self.left: Counter[int] = Counter()
        """How many blocks of each layer are yet to be changed."""
        self.device = next(p.device for p in model.parameters() if not p.is_meta)
        for i, layer in enumerate(self.layers):
            layer.register_forward_pre_hook(partial(self._before, i))

    def __deepcopy__(self, memo: dict[int, Any]) -> Shelf:
        return self  # a copy of a layer has hooks of the same one

    def hold(self, layers: Iterable[int]) -> None:
        """Have layers in memory, and beside them only those that are being changed."""
        wanted = set(layers)
        for i in self.here - self.kept - wanted:
            self._empty(i)
        for i in sorted(wanted):  # those that are here may have shared states with one that is not
            self._fill(self.layers[i], i, self.files)
        self.here |= wanted

    @contextmanager
    def changing(self, layers: Iterable[int]) -> Iterator[None]:
        """Layers are changed meanwhile: one for each block. One that has no more blocks to be changed is written."""
        blocks = Counter(layers)
        self.kept |= set(blocks)
        self.hold(blocks)
        yield
        self.left -= blocks
        for i in blocks:
            if not self.left[i]:
                self._write(i)

    def finish(self) -> None:
        """Write what has not been changed, and the folder's configuration and index."""
        for i in range(len(self.layers)):
            if i not in self.written:
                self.hold([i])
                self._write(i)
        inside = f"{self.path}."
        rest = {name: p for name, p in self.model.named_parameters() if not name.startswith(inside)}
        self._save(len(self.layers), rest | _buffers(self.model, inside))
        total = sum(file.stat().st_size for file in set(self.files.values()))
        listed = {name: file.name for name, file in sorted(self.files.items())}
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": listed}, indent=2)
        (self.out / _INDEX).write_text(text + "\n", encoding="utf-8")
        config: Any = self.model.config
        config.architectures = [type(self.model).__name__]
        config.save_pretrained(self.out)

    def _before(self, i: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module is self.layers[i]:
            self.hold([i])
        elif any(p.is_meta for p in module.parameters()):  # a copy of the dense layer
            self._fill(module, i, self.source)

    def _fill(self, layer: nn.Module, i: int, files: Mapping[str, Path]) -> None:
        for table, name, stored in self._numbers(layer, i):
            if table[name].is_meta:
                _put(table, name, files[stored], stored, self.device)

    def _empty(self, i: int) -> None:
        for table, name, _ in self._numbers(self.layers[i], i):
            _set(table, name, table[name].to("meta"))
        self.here.discard(i)

    def _numbers(self, layer: nn.Module, i: int) -> Iterator[tuple[dict[str, Any], str, str]]:
        """All that is stored of a layer: the table of a module that it is in, its name there, and that in the files."""
        for path, module in layer.named_modules():
            at = ".".join(part for part in (self.path, str(i), path) if part)
            for name, p in module._parameters.items():
                if p is not None:
                    yield module._parameters, name, f"{at}.{name}"
            for name, b in module._buffers.items():
                if b is not None and name not in module._non_persistent_buffers_set:
                    yield module._buffers, name, f"{at}.{name}"
            if isinstance(module, NeuronalLinear) and id(module.reads) in self.shared:  # maybe of another layer
                yield module.reads._parameters, "weight", self.shared[id(module.reads)]

    def _write(self, i: int) -> None:
        """Write a layer as it has become; from now on it is read from there."""
        before = f"{self.path}.{i}."
        for name in [name for name in self.files if name.startswith(before)]:
            del self.files[name]
        self._save(i, self.layers[i].state_dict(prefix=before))
        states = ((name, m) for name, m in self.layers[i].named_modules() if isinstance(m, InputStates))
        self.shared |= {id(m): f"{before}{name}.weight" for name, m in states}
        self.written.add(i)
        self.kept.discard(i)

    def _save(self, number: int, numbers: Mapping[str, Tensor]) -> None:
        from safetensors.torch import save_file

        file = self.out / f"model-{number + 1:05d}-of-{len(self.layers) + 1:05d}.safetensors"
        save_file({name: x.detach().cpu().contiguous() for name, x in numbers.items()}, file, {"format": "pt"})
        self.files.update(dict.fromkeys(numbers, file))


def shelf_of(model: nn.Module) -> Shelf | None:
    """The shelf that a model's layers are on; None where they are in memory."""
    return model.__dict__.get(SHELF)


def hold(model: nn.Module, layers: Iterable[int]) -> None:
    """Have layers in memory; those of an ordinary model are."""
    if (shelf := shelf_of(model)) is not None:
        shelf.hold(layers)


def expect(model: nn.Module, layers: Iterable[int]) -> None:
    """Say which layers are going to be changed, each as often as it has blocks."""
    if (shelf := shelf_of(model)) is not None:
        shelf.left.update(layers)


@contextmanager
def changing(model: nn.Module, layers: Iterable[int]) -> Iterator[None]:
    """Layers of a model are changed meanwhile, one for each block; those on a shelf are then written (`Shelf`)."""
    if (shelf := shelf_of(model)) is None:
        yield
    else:
        with shelf.changing(layers):
            yield


def open_shelved(
    folder: Path, out: Path, dtype: str | torch.dtype = "auto", device: torch.device | str = "cpu"
) -> tuple[Any, Any]:
    """A decoder in evaluation mode, its layers on a `Shelf`, and its tokenizer.

    Args:
        folder: one that `save_pretrained` wrote, with safetensors.
        out: a folder for what is changed.
        dtype: of its numbers; `auto` for what the folder has.
        device: where its layers are put when they are read.

    Raises `InputError` where the folder has no safetensors, or its numbers are not the model's by name and shape.

    Example: ``model, tokenizer = open_shelved(Path("path/to/model"), Path("smaller"))``
    """
    transformers = require("transformers", "a decoder of Hugging Face", "hf")
    accelerate = require("accelerate", "a decoder that stays in its files", "hf")
    import inn.compress.folder  # noqa: F401  (a compressed model is known as one)

    files = _files(folder)
    with opening(folder):
        config = transformers.AutoConfig.from_pretrained(folder)
        refuse_others(folder, config)
        if getattr(config, "quantization_config", None) is not None:
            raise InputError(f"'{folder}' is quantised or compressed already; give the model that it was made of")
        wanted = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype
        if wanted == "auto":
            wanted = getattr(config, "dtype", None) or next(map(_read, files.values(), files)).dtype
        with accelerate.init_empty_weights(include_buffers=False):
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=wanted)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model.eval().tie_weights()  # so that what is stored once is read once
    inside = f"{layers_of(model)[0]}."
    numbers = dict(model.named_parameters()) | _buffers(model)
    if missing := [name for name in numbers if name not in files]:
        raise InputError(
            f"'{folder}' has its numbers under other names than {type(model).__name__} ({missing[0]}, {len(missing)} "
            "in all), so that its layers cannot be read one by one; leave out --stream"
        )
    for name in numbers:
        if not name.startswith(inside):
            owner, _, last = name.rpartition(".")
            module = model.get_submodule(owner)
            _put(module._parameters if last in module._parameters else module._buffers, last, files[name], name, device)
    model.tie_weights()
    for module in model.modules():
        module._buffers.update({name: b if b is None else b.to(device) for name, b in module._buffers.items()})
    model.__dict__[SHELF] = Shelf(model, files, out)
    return model, tokenizer


def _files(folder: Path) -> dict[str, Path]:
    """Where each number of a folder's safetensors is, by its name."""
    from safetensors import safe_open

    index, single = folder / _INDEX, folder / "model.safetensors"
    if index.is_file():
        return {n: folder / f for n, f in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items()}
    if single.is_file():
        with opening(folder), safe_open(single, "pt") as file:
            return dict.fromkeys(file.keys(), single)
    raise InputError(f"'{folder}' holds no safetensors, which --stream reads layer by layer; leave it out")


def _put(table: dict[str, Any], name: str, file: Path, stored: str, device: torch.device | str) -> None:
    """Read a tensor into a module's table, as what it is there."""
    new, old = _read(file, stored), table[name]
    if new.shape != old.shape:
        raise InputError(f"'{stored}' in '{file}' is {list(new.shape)}, and the model's is {list(old.shape)}")
    _set(table, name, new.to(device=device, dtype=old.dtype, copy=True))


def _set(table: dict[str, Any], name: str, new: Tensor) -> None:
    old = table[name]
    table[name] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


def _read(file: Path, name: str) -> Tensor:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as numbers:
            return numbers.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{file}' cannot be read: {error}; it is damaged, or not all of it is there") from error


def _buffers(model: nn.Module, inside: str | None = None) -> dict[str, Tensor]:
    """Buffers that are stored, but for those inside a path."""
    return {
        f"{path}.{name}".lstrip("."): b
        for path, module in model.named_modules()
        for name, b in module._buffers.items()
        if b is not None and name not in module._non_persistent_buffers_set and not (inside and path.startswith(inside))
    }
