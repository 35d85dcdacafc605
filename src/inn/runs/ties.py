"""What ties a run's settings, vocabulary and experience to its weights, so that damage and edits do not go unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inn.config.assemble import stored_model
from inn.config.migrate import migrate
from inn.config.parts import plain
from inn.config.run import RunConfig
from inn.data.vocabulary import Vocabulary
from inn.runs.directory import Run
from inn.system.errors import InputError
from inn.system.files import sha256_of
from inn.system.trees import dotted

FREE = (
    *("data.corpus", "data.tokenizer", "train.device", "train.threads", "train.parallel", "train.keep"),
    "train.objective.teacher",  # what it has to be is known by its fingerprint
    *("train.log_every", "train.eval_every", "train.eval_symbols", "train.sample_every", "train.checkpoint_every"),
)
"""Settings that a person may change in a run's `config.yaml`: where the text and the teacher are, the machine, what is
kept and told."""


def ties(config: RunConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """What a checkpoint keeps of the run that it is of."""
    return {"settings": config.to_dict(), "vocabulary_sha256": _sha256(vocabulary)}


def check_ties(run: Run, checkpoint: Path, meta: Mapping[str, Any], sections: Iterable[str] = ("model",)) -> list[str]:
    """Compare a run's settings and vocabulary with what its checkpoint was trained with; `meta` is the checkpoint's.

    Returns what else than it was among `FREE`, in words.

    Raises `InputError` that names the first difference. Checkpoints of earlier versions know their model only.
    """
    known = meta.get("settings") or migrate({"model": meta.get("model")})
    said, path = [], run.path / "config.yaml"
    for section in sections:
        if known.get(section) is None:
            continue
        if section == "model":
            was, now = plain(stored_model(known["model"])), plain(run.model_config())
        else:
            was, now = (c.to_dict()[section] for c in (RunConfig.from_dict(known), run.config()))
        was, now = dotted(was, f"{section}."), dotted(now, f"{section}.")
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) == now.get(name):
                continue
            if name not in FREE:
                raise InputError(
                    f"checkpoint '{checkpoint}' does not fit the {section} settings in {path.name}: {name} is "
                    f"{now.get(name)}, and was {was.get(name)}; restore it, or start another run with the change by "
                    f"`inn train --from {run.path} --run DIR --{name} ...`"
                )
            said.append(f"{name} is {now.get(name)} now, and was {was.get(name)}")
    if meta.get("vocabulary_sha256") not in (None, _sha256(run.vocabulary())):
        raise InputError(
            f"'{run.path / 'vocabulary.json'}' is not the vocabulary that the run was trained with (its sha256 "
            "differs); restore it from a copy"
        )
    return said


def _sha256(vocabulary: Vocabulary) -> str:
    return sha256_of([vocabulary.to_json().encode()])
