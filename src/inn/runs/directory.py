"""The run directory: everything needed to repeat, resume, evaluate or publish a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from inn.config.assemble import stored_model
from inn.config.migrate import migrate
from inn.config.run import RunConfig
from inn.data.vocabulary import Vocabulary
from inn.runs.beside import ABOUT_TEXT, GENERATION, carry
from inn.runs.trained import hint, located
from inn.system.errors import InputError
from inn.system.files import (
    RUN,
    check_place,
    new_folder,
    read_file,
    remove_leftovers,
    replace_file,
    sha256_of,
    write_synced,
    writing,
)
from inn.system.parse import JSON_BYTES, parse_json, read_json, read_yaml

_GROWING = ("metrics.jsonl", "samples.txt")
_LAUNCHER = ".launcher"


class Run:
    """A run directory on disk, with these in it::

        config.yaml  vocabulary.json  metrics.jsonl  samples.txt  summary.json  experience.safetensors  checkpoints/

    `metrics.jsonl` holds one JSON object per line; its `event` is `train`, `validation` or `warning`. A tokenizer of
    others, or pretrained weights, bring along what lies beside them (`inn.runs.beside`).

    A run is itself accepted where a path of one is.

    Attributes:
        path: the directory, as it was given; of a trained model that was named, where it is installed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Open an existing run, or a trained model by name; raises `InputError` where there is none."""
        self.path = Path(located(path))
        if not (self.path / "config.yaml").is_file():
            there = "is a file" if self.path.is_file() else "does not exist"
            there = "has no config.yaml" if self.path.is_dir() else there
            meant = hint(str(path)) or "; give the directory of an `inn train`"
            raise InputError(f"'{self.path}' is not a run: it {there}{meant}")

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Run('{self.path}')"

    @staticmethod
    def check_free(path: str | os.PathLike[str]) -> None:
        """Raise `InputError` when `path` exists already (an empty directory may), or cannot be made."""
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(
                f"run directory '{path}' exists already; go on with it by `inn train --resume {quote(str(path))}`, "
                "or choose another by --run"
            )
        check_place(path)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], config: RunConfig, vocabulary: Vocabulary, *, launcher: str | None = None
    ) -> Run:
        """Make a new run directory, whole or not at all; raises `InputError` when it exists or cannot be written.

        `launcher`: a name for what started this process and will start it again if it dies (`was_created_by`).
        """
        path = Path(path)
        cls.check_free(path)
        with new_folder(path) as temporary:
            text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
            write_synced(temporary / "config.yaml", text.encode())
            write_synced(temporary / "vocabulary.json", f"{vocabulary.to_json()}\n".encode())
            for name in _GROWING:
                write_synced(temporary / name, b"")
            (temporary / "checkpoints").mkdir()
            if config.data.tokenizer is not None and vocabulary.kind == "tokenizer":
                carry(config.data.tokenizer, temporary, ABOUT_TEXT)
            if config.train.start is not None:
                carry(config.train.start, temporary, (GENERATION,))
            if launcher is not None:
                write_synced(temporary / _LAUNCHER, launcher.encode())
        return cls(path)

    @staticmethod
    def was_created_by(launcher: str | None, path: str | os.PathLike[str]) -> bool:
        """Whether the run at `path` was begun under this launcher, and not by somebody else."""
        mark = Path(path) / _LAUNCHER
        return launcher is not None and mark.is_file() and mark.read_text() == launcher

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def config(self) -> RunConfig:
        """The run's configuration, as it was at the start."""
        return RunConfig.from_dict(self._tree())

    def model_config(self) -> Any:
        """The configuration of the run's model; what it was trained with need not be there any more."""
        return stored_model(self._tree().get("model") or {})

    def _tree(self) -> dict[str, Any]:
        path = self.path / "config.yaml"
        tree = read_yaml(path, f"cannot read '{path}': it")
        if not isinstance(tree, dict):
            raise InputError(f"'{path}' is not the configuration of a run; it was changed or truncated")
        for name in ("model", "data", "train"):
            if not isinstance(tree.get(name), dict):
                raise InputError(f"'{path}' has no fields in its section '{name}'; it was changed or truncated")
        return migrate(tree)

    def vocabulary(self) -> Vocabulary:
        """The vocabulary the run was trained with."""
        return Vocabulary.load(self.path / "vocabulary.json")

    def given_vocabulary(self) -> Vocabulary | None:
        """The run's vocabulary where its settings took it from a file or another run; None where the text decides.

        The run keeps it, so that nothing else has to be there any more.
        """
        return self.vocabulary() if self.config().data.tokenizer is not None else None

    def summary(self) -> dict[str, Any] | None:
        """What the run came to; None while it has not ended once."""
        path = self.path / "summary.json"
        return read_json(path) if path.exists() else None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace `summary.json`."""
        text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
        replace_file(self.path / "summary.json", f"{text}\n", RUN)

    def write_experience(self, content: bytes) -> dict[str, Any]:
        """Replace `experience.safetensors`: what the finished run can recall. Returns its size and sha256."""
        replace_file(self.path / "experience.safetensors", content, RUN)
        return {"bytes": len(content), "sha256": sha256_of([content])}

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; a last line that a crash cut short is left out."""
        path = self.path / "metrics.jsonl"
        lines = read_file(path, JSON_BYTES).split(b"\n")[:-1]
        return [parse_json(line, f"line {i} of '{path}'") for i, line in enumerate(lines, 1)]

    def log(self, **record: Any) -> None:
        """Append one line to `metrics.jsonl`."""
        self._append("metrics.jsonl", json.dumps(record, allow_nan=False) + "\n")

    def log_sample(self, step: int, text: str) -> None:
        """Append what the model wrote to `samples.txt`."""
        self._append("samples.txt", f"--- step {step}\n{text}\n\n")

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        with writing(path, RUN), path.open("ab") as file:
            file.write(text.encode())

    def sizes(self) -> dict[str, int]:
        """Bytes of the growing files, made sure to be on the disk: to be kept with a checkpoint."""
        sizes = {}
        for name in _GROWING:
            with writing(self.path / name, RUN), (self.path / name).open("ab") as file:
                os.fsync(file.fileno())
                sizes[name] = file.tell()
        return sizes

    def rewind(self, sizes: dict[str, int]) -> None:
        """Cut the growing files back to where they were at a checkpoint: later steps will be written again."""
        remove_leftovers(self.path)
        for name in _GROWING:
            path = self.path / name
            with writing(path, RUN), path.open("ab") as file:
                file.truncate(min(sizes.get(name, 0), file.tell()))


class ReadOnlyRun(Run):
    """A run directory that another process writes: writing through this one does nothing."""

    def write_summary(self, summary: dict[str, Any]) -> None:
        pass

    def write_experience(self, content: bytes) -> dict[str, Any]:
        return {}

    def sizes(self) -> dict[str, int]:
        return {}

    def rewind(self, sizes: dict[str, int]) -> None:
        pass

    def _append(self, name: str, text: str) -> None:
        pass
