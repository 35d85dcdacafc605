"""The configuration of an INN as `transformers` keeps it: ours, whole, in one field."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from inn.config.assemble import stored_model
from inn.config.parts import plain
from inn.runs.exported import MODEL_TYPE
from inn.system.errors import InputError

KINDS = ("inn", "mamba-stack")
"""Kinds of models that `transformers` can be given: those that run through `inn.INN`."""


class INNHFConfig(PreTrainedConfig):
    """What an `INNModel`, `INNForCausalLM` or `INNForSequenceClassification` is built from.

    Args:
        inn: fields of `inn.INNConfig` by name, or one itself; `kind` may be `mamba-stack`. Every field is written out.
        use_cache: whether calls return the state, where they do not say; never while training.
        options: what every configuration of `transformers` may have.

    Raises `InputError` for an unknown field, a value that does not fit, and other kinds of models.

    >>> INNHFConfig(inn={"vocab": 27, "neurons": 4, "width": 8, "rounds": 2}).hidden_size
    32
    """

    model_type = MODEL_TYPE
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, inn: Any = None, use_cache: bool = True, **options: Any):
        config = stored_model(inn or {}) if inn is None or isinstance(inn, dict) else inn
        if getattr(config, "kind", None) not in KINDS:
            kind = getattr(config, "kind", type(config).__name__)
            raise InputError(f"a model of kind '{kind}' cannot be given to transformers; those of {_listed()} can")
        self.inn = plain(config)
        self.use_cache = use_cache
        # Where a folder is opened before `inn.hf` was imported: a file beside the weights imports it, and then the
        # classes that are not named here are known, too.
        self.auto_map = {
            "AutoConfig": "modeling_inn.INNConfig",
            "AutoModel": "modeling_inn.INNModel",
            "AutoModelForCausalLM": "modeling_inn.INNForCausalLM",
        }
        options.pop("auto_map", None)  # of the file that was written beside an earlier folder
        super().__init__(**{"pad_token_id": None, **options, "tie_word_embeddings": config.tied})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("vocab_size", "hidden_size", "num_hidden_layers"):
            raise InputError(f"{name} follows from the model's own fields; give them by inn={{...}}")
        super().__setattr__(name, value)

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoConfig") -> None:
        """Nothing: `transformers` would have this file copied beside the weights, which `auto_map` opens by itself."""

    def build(self) -> Any:
        """The dataclass that `inn.build_model` takes."""
        return stored_model(self.inn)

    @property
    def vocab_size(self) -> int:
        """Distinct symbols."""
        return self.inn["vocab"]

    @property
    def hidden_size(self) -> int:
        """Width of `last_hidden_state`."""
        config = self.build()
        return config.normed_width if config.kind == "inn" else config.width

    @property
    def num_hidden_layers(self) -> int:
        """Rounds of the graph; layers of a stack."""
        return self.inn["rounds"] if self.inn["kind"] == "inn" else self.inn["layers"]


def _listed() -> str:
    return " and ".join(f"'{kind}'" for kind in KINDS)
