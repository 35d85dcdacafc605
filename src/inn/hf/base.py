"""What all models behind the interface of `transformers` share: they hold an `inn.INN`, and read through it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inn.hf.cache import Chunk, INNCache, unlearned
from inn.hf.config import INNHFConfig
from inn.hf.folder import check_free_of_adapters, write_beside
from inn.hf.inputs import checked, cut, held, passes
from inn.hf.losses import teach_trainer
from inn.models.build import build_model
from inn.models.inn import INN
from inn.nn.direct import untouched
from inn.nn.state import State
from inn.runs.exported import EXPERIENCE, VOCABULARY, read_experience
from inn.system.errors import InputError

HUB = ("repo_id", "commit_message", "private", "revision", "create_pr", "commit_description", "tags")
"""Options of saving that are for the Hub."""


class Reading(NamedTuple):
    """What comes of reading symbols: at a masked position it is that of the last symbol before it (`held`).

    Attributes:
        told: `[B, T, F]`, for `INN.predict`: `hidden`, and behind it the votes of recall, where there are some.
        hidden: `[B, T, hidden_size]`.
        rounds: the same before the first round and after each of them, where asked for; the last is `hidden`.
        penalties: what the model adds to the loss of training.
    """

    told: Tensor
    hidden: Tensor
    rounds: tuple[Tensor, ...] | None
    penalties: dict[str, Tensor]


class INNPreTrainedModel(PreTrainedModel):
    """What both models share: they are built around an `inn.INN`, a new one or one that is given.

    Args:
        config: an `INNHFConfig`.
        inn: the model to hold, of that configuration; weights are shared, nothing is copied. A new one if None.
    """

    config_class = INNHFConfig
    base_model_prefix = "inn"
    supports_gradient_checkpointing = True
    _tied_weights_keys = {"inn.head.weight": "inn.embedding.weight"}
    _is_stateful = False  # the past can be recorded, see `INNCache.crop`
    _made = False
    inn: INN

    def __init__(self, config: INNHFConfig, inn: INN | None = None):
        super().__init__(config)
        tied = config.inn["tied"]
        if config.tie_word_embeddings != tied:
            raise InputError(
                f"tie_word_embeddings is {config.tie_word_embeddings}, and tied of the model {tied}; leave it out"
            )
        self.inn = build_model(config.build()) if inn is None else inn  # type: ignore[assignment]
        self.gradient_checkpointing = False
        self._no_split_modules = self.inn.no_split
        self.post_init()
        self._made = True

    @classmethod
    def wrap(cls, inn: INN) -> Any:
        """A model of `transformers` that holds `inn`: the weights are one and the same.

        Raises `InputError` for a kind of model that `transformers` cannot be given.

        >>> from inn.hf import INNForCausalLM
        >>> model = INN(vocab=27, neurons=2, width=8, rounds=1)
        >>> INNForCausalLM.wrap(model).inn is model
        True
        """
        return cls(INNHFConfig(inn=inn.config), inn).train(inn.training)

    @property
    def accepts_loss_kwargs(self) -> bool:
        """Yes, `num_items_in_batch`: `Trainer` asks, and is taught what it cannot know of such a model."""
        teach_trainer()
        return True

    def init_weights(self) -> None:
        """Start anew, as after `to_empty`; nothing while the model is made, for an INN is made with its weights."""
        if self._made:
            self.inn.reset_parameters()
            for head in self.children():
                if head is not self.inn:
                    self._init_weights(head)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Give a module that a checkpoint does not hold wholly what a new model has there, and touch nothing else."""
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        missing = {name for name, t in own if not getattr(t, "_is_hf_initialized", False)}
        if missing and all(m is not module for m in self.inn.modules()):
            if isinstance(module, nn.Linear):  # a head of another task
                nn.init.normal_(module.weight, std=0.02)
        elif missing and callable(reset := getattr(module, "reset_parameters", None)):
            others = {n: t for n, t in [*module.named_parameters(), *module.named_buffers()] if n not in missing}
            kept = {n: t.clone() for n, t in others.items()}
            reset()
            for n, t in others.items():
                t.copy_(kept[n])

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **options: Any) -> None:
        self.gradient_checkpointing = enable
        self.inn.graph.checkpoint_rounds = enable

    def get_input_embeddings(self) -> nn.Module:
        return self.inn.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.inn.embedding = value  # type: ignore[assignment]

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, *args: Any, **options: Any
    ) -> nn.Embedding:
        """Raises `InputError` for another size than there is: neurons recall symbols by number."""
        if pad_to_multiple_of is not None:
            new_num_tokens = -(-(new_num_tokens or self.config.vocab_size) // pad_to_multiple_of) * pad_to_multiple_of
        if new_num_tokens not in (None, self.config.vocab_size):
            raise InputError(
                f"the model has {self.config.vocab_size} symbols and cannot be given {new_num_tokens}; "
                "padding needs no symbol of its own, every masked position is skipped"
            )
        return self.inn.embedding

    def experience_cache(self, batch: int = 1) -> INNCache:
        """A cache of what the model can recall of the text it was trained on, to write from.

        `generate(..., past_key_values=model.experience_cache())` writes as `inn generate` does, which starts from
        there; without it writing starts fresh, as scoring always does. `batch` is the number of streams, beams
        counted.

        Raises `InputError` where the model was exported without any.
        """
        if self.inn.experience is None and (path := self._beside(EXPERIENCE)):
            self.inn.experience = read_experience(path, self.inn)
        if self.inn.experience is None:
            raise InputError("this model has no experience: none was exported with it, or it recalls nothing")
        rows = self.inn.experience.select_batch([0] * batch)
        return INNCache(State({key: rows[key].to(t) for key, t in self.inn.initial_state(batch).items()}))

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **options: Any) -> None:
        """See `PreTrainedModel.save_pretrained`; what belongs beside the weights is saved too.

        What lies there of another model is replaced or taken away. Raises `InputError` for a folder with an adapter.
        """
        folder, push = Path(save_directory), options.pop("push_to_hub", False)
        check_free_of_adapters(folder, self)
        found = {name: self._beside(name) for name in (VOCABULARY, EXPERIENCE)}
        hub = {name: options.pop(name) for name in HUB if name in options}
        super().save_pretrained(save_directory, *args, **options)
        if options.get("is_main_process", True):
            write_beside(self, folder, found)
            if push:  # only now, as `PreTrainedModel` would have done before the folder was whole
                self.push_to_hub(hub.pop("repo_id", folder.name), token=options.get("token"), **hub)

    def _beside(self, name: str) -> Path | None:
        """A file of the folder, or the Hub repository, that the model was loaded from; None where it is not there."""
        source = self.config.name_or_path
        if not source:
            return None
        if Path(source).is_dir():
            path = Path(source) / name
            return path if path.is_file() else None
        from transformers.utils.hub import cached_file

        revision = getattr(self.config, "_commit_hash", None)  # of the weights, whatever came since
        found = cached_file(source, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)

    def _read(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        reset: Tensor | None,
        cache: INNCache | None,
        written: int | None = None,
        rounds: bool = False,
    ) -> Reading:
        """Read new symbols `[B, T]`; the cache goes on, and knows which of them are the model's own writing."""
        if cache is not None:
            self._catch_up(cache)
        state, begin = (None, 0) if cache is None else (cache.state, cache.length)
        written = cache.written_from if cache is not None and cache.written_from is not None else written
        own = None if cache is None else cache.take_unread(tokens)
        recording, every = cache is not None and cache.recording, []
        for at, end in passes(begin, begin + tokens.shape[1], written, recording, own is not None):
            place = slice(at - begin, end - begin)
            part, part_mask, part_reset = tokens[:, place], cut(mask, place), cut(reset, place)
            mine = own if at == begin else None
            remember = (written is None or at < written) and (mine is None or not bool(mine.all()))
            before = state
            none: list[Tensor] = []
            with each_round(self.inn) if rounds else nullcontext(none) as levels:
                options = {"reset": part_reset, "mask": part_mask, "remember": remember, "predict": False}
                hidden, state = self.inn(part, state, **options)
            if remember and mine is not None and before is not None:
                state = unlearned(before, state, mine)
            every.append([*(self.inn.norm(self.inn.graph.readout(x)) for x in levels[:-1]), hidden])
            if cache is not None:
                cache.keep(state, Chunk(part, part_mask, mine))
                if written is not None and end < written:
                    cache.commit()
        assert state is not None
        parts = [list(parts) for parts in zip(*every, strict=True)]
        levels = [held(torch.cat(p, 1) if len(p) > 1 else p[0], mask) for p in parts]
        told, voted = levels[-1], getattr(self.inn, "votes", None) is not None
        hidden = told[..., : self.inn.heard] if voted else told
        return Reading(told, hidden, (*levels[:-1], hidden) if rounds else None, state.penalties)

    def _catch_up(self, cache: INNCache) -> None:
        """Read what a cache still has to, after symbols were taken back."""
        if cache.pending is not None:
            chunk, cache.pending = cache.pending, None
            cache.length -= chunk.tokens.shape[1]
            cache.unread = chunk.unread()
            with torch.no_grad():
                self._read(chunk.tokens, chunk.mask, None, cache)
            cache.commit()

    def _steps(self, cache: INNCache | None, *stretches: Tensor | None) -> bool:
        """Whether one symbol can be read by changing the state in place."""
        return (
            cache is not None
            and cache.pending is None
            and cache.unread is None
            and not torch.is_grad_enabled()
            and not self.training
            and all(s is None for s in stretches)
            and not torch.compiler.is_compiling()
            and untouched(self.inn)  # else what hangs on it is heard as in reading
        )

    def _given(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        cache: Any,
        use_cache: bool | None,
        options: dict[str, Any],
    ) -> tuple[Tensor, Tensor | None, Tensor | None, INNCache | None, bool]:
        """A call, checked: symbols, mask and resets `[B, T]`, the cache, whether hidden states are asked for."""
        rounds = self._asks_for_rounds(options)
        tokens, mask, reset = checked(input_ids, attention_mask, cache, options, self.config.vocab_size)
        return tokens, mask, reset, self._cache(cache, use_cache), rounds

    def _cache(self, cache: Any, use_cache: bool | None) -> INNCache | None:
        """The cache to go on with; None where none is asked for."""
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        return INNCache() if use_cache and cache is None else cache

    def _asks_for_rounds(self, options: dict[str, Any]) -> bool:
        """Whether hidden states are asked for, by a call or by the configuration; there are no attentions."""
        asked = {}
        for name in ("output_attentions", "output_hidden_states"):
            value = options.get(name)
            asked[name] = bool(getattr(self.config, name, False) if value is None else value)
        if asked["output_attentions"]:
            raise InputError("an INN gives no attentions; record what its neurons do by `inn.record(model.inn, ...)`")
        return asked["output_hidden_states"]

    def _returned(self, out: Any, return_dict: bool | None) -> Any:
        """An output as it is, or as a tuple."""
        return out if (self.config.return_dict if return_dict is None else return_dict) else out.to_tuple()


@contextmanager
def each_round(inn: INN) -> Iterator[list[Tensor]]:
    """The neurons `[B, T, N, D]` before the first round and after each, once the block has ended."""
    found: list[Tensor] = []
    calls: list[tuple[Tensor, Tensor]] = []
    handles = [
        r.register_forward_hook(lambda module, args, output: calls.append((args[0], output[0])))
        for r in inn.graph.rounds
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    R = inn.graph.config.rounds  # where a graph goes step by step, as many calls a step
    found.append(torch.cat([x for x, _ in calls[::R]], 1))
    found += [torch.cat([y for _, y in calls[r::R]], 1) for r in range(R)]
