"""An INN behind the interface of `transformers`: it holds an `inn.INN`, whose weights and code are the only ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from inn.hf.cache import Chunk, INNCache
from inn.hf.config import INNHFConfig
from inn.hf.folder import write_beside
from inn.hf.inputs import check_cache, checked, cut, held, passes
from inn.models.build import build_model
from inn.models.inn import INN
from inn.nn.population import Linear, NeuronLinear
from inn.nn.state import State
from inn.runs.exported import EXPERIENCE, VOCABULARY, read_experience
from inn.system.errors import InputError


class INNPreTrainedModel(PreTrainedModel):
    """What both models share: they are built around an `inn.INN`, a new one or one that is given.

    Args:
        config: an `INNHFConfig`.
        inn: the model to hold, of that configuration; weights are shared, nothing is copied. A new one if None.
    """

    config_class = INNHFConfig
    base_model_prefix = "inn"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Round"]
    _tied_weights_keys = {"inn.head.weight": "inn.embedding.weight"}
    _is_stateful = False  # the past can be recorded, see `INNCache.crop`
    inn: INN

    def __init__(self, config: INNHFConfig, inn: INN | None = None):
        super().__init__(config)
        self.inn = build_model(config.build()) if inn is None else inn  # type: ignore[assignment]
        self.gradient_checkpointing = False
        self.post_init()

    @classmethod
    def wrap(cls, inn: INN) -> Any:
        """A model of `transformers` that holds `inn`: the weights are one and the same.

        Raises `InputError` for a kind of model that `transformers` cannot be given.

        >>> model = INN(vocab=27, neurons=2, width=8, rounds=1)
        >>> INNForCausalLM.wrap(model).inn is model
        True
        """
        return cls(INNHFConfig(inn=inn.config), inn).train(inn.training)

    def init_weights(self) -> None:
        """Nothing: an INN is made with its weights initialised, and tied."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Give a module that a checkpoint does not hold wholly what a new model has there, and touch nothing else."""
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        missing = {name: t for name, t in own if not getattr(t, "_is_hf_initialized", False)}
        where = next((name for name, m in self.inn.named_modules() if m is module), None)
        if missing and where is not None:
            with torch.device("cpu"):
                new = build_model(self.config.build()).get_submodule(where)
            for name, t in missing.items():
                t.copy_(getattr(new, name))

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **options: Any) -> None:
        self.gradient_checkpointing = enable
        self.inn.graph.checkpoint_rounds = enable

    def get_input_embeddings(self) -> nn.Module:
        return self.inn.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.inn.embedding = value  # type: ignore[assignment]

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **options: Any) -> nn.Embedding:
        """Raises `InputError` for another size than there is: neurons recall symbols by number."""
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
        """See `PreTrainedModel.save_pretrained`; what `inn.load` needs beside the weights is saved too."""
        found = {name: self._beside(name) for name in (VOCABULARY, EXPERIENCE)}
        super().save_pretrained(save_directory, *args, **options)
        write_beside(self, Path(save_directory), found)

    def _beside(self, name: str) -> Path | None:
        """A file of the folder, or the Hub repository, that the model was loaded from; None where it is not there."""
        source = self.config.name_or_path
        if not source:
            return None
        if Path(source).is_dir():
            path = Path(source) / name
            return path if path.is_file() else None
        from transformers.utils.hub import cached_file

        found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)

    def _read(
        self, tokens: Tensor, mask: Tensor | None, reset: Tensor | None, cache: INNCache | None, written: int | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The hidden states `[B, T, F]` of new symbols, and what the model adds to the loss of training.

        The cache goes on. At a masked position they are those of the last symbol before it (`held`).
        """
        if cache is not None:
            self._catch_up(cache)
        state, begin = (None, 0) if cache is None else (cache.state, cache.length)
        written = cache.written_from if cache is not None and cache.written_from is not None else written
        parts = []
        for at, end in passes(begin, begin + tokens.shape[1], written, cache is not None and cache.recording):
            place = slice(at - begin, end - begin)
            part, part_mask, part_reset = tokens[:, place], cut(mask, place), cut(reset, place)
            remember = written is None or at < written
            hidden, state = self.inn.hidden(part, state, reset=part_reset, mask=part_mask, remember=remember)
            parts.append(hidden)
            if cache is not None:
                cache.keep(state, Chunk(part, part_mask))
                if written is not None and end < written:
                    cache.commit()
        assert state is not None
        return held(parts[0] if len(parts) == 1 else torch.cat(parts, 1), mask), state.penalties

    def _catch_up(self, cache: INNCache) -> None:
        """Read what a cache still has to, after symbols were taken back."""
        if cache.pending is not None:
            chunk, cache.pending = cache.pending, None
            cache.length -= chunk.tokens.shape[1]
            with torch.no_grad():
                self._read(chunk.tokens, chunk.mask, None, cache, None)
            cache.commit()

    def _steps(self, cache: INNCache | None, *stretches: Tensor | None) -> bool:
        """Whether one symbol can be read by changing the state in place."""
        return (
            cache is not None
            and cache.pending is None
            and not torch.is_grad_enabled()
            and not self.training
            and all(s is None for s in stretches)
            and not torch.compiler.is_compiling()
        )

    def _cache(self, cache: INNCache | None, use_cache: bool | None) -> INNCache | None:
        """The cache to go on with; None where none is asked for."""
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        return INNCache() if use_cache and cache is None else cache


class INNModel(INNPreTrainedModel):
    """An INN without its head: symbols `[B, T]` -> `last_hidden_state` `[B, T, hidden_size]`.

    >>> model = INNModel(INNHFConfig(inn={"vocab": 27, "neurons": 2, "width": 8, "rounds": 1}))
    >>> model(torch.zeros(1, 5, dtype=torch.long)).last_hidden_state.shape
    torch.Size([1, 5, 16])
    """

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> BaseModelOutputWithPast | tuple:
        """See `INNForCausalLM.forward`."""
        symbols = self.config.vocab_size
        tokens, mask, reset = checked(input_ids, attention_mask, past_key_values, options, symbols)
        cache = self._cache(past_key_values, use_cache)  # type: ignore[arg-type]
        hidden, _ = self._read(tokens, mask, reset, cache, None)
        out = BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=cache)  # type: ignore[arg-type]
        return out.to_tuple() if return_dict is False else out


class INNForCausalLM(INNPreTrainedModel, GenerationMixin):
    """An INN as a causal language model of `transformers`: symbols `[B, T]` -> logits `[B, T, vocab_size]`.

    >>> model = INNForCausalLM.wrap(INN(vocab=27, neurons=2, width=8, rounds=1).eval())
    >>> tokens = torch.randint(27, (2, 6))
    >>> torch.equal(model(tokens).logits, model.inn(tokens)[0])
    True
    """

    def get_output_embeddings(self) -> nn.Module | None:
        return self.inn.head if isinstance(self.inn.head, Linear) else None

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.inn.head = new_embeddings  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        written_from: int | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast | tuple:
        """Predict the next symbol at every position.

        Args:
            input_ids: `[B, T]` symbols.
            attention_mask: `[B, T]`, or `[B, earlier + T]` of which the last T count; 0 is padding, on either side: the
                state passes it by.
            past_key_values: the `INNCache` of an earlier call, changed in place. None starts afresh.
            labels: `[B, T]`, the input itself; -100 is not counted. The loss is in nats per symbol.
            logits_to_keep: so many last positions only (0: all), or these.
            written_from: position from which on the symbols are the model's own writing, not to be recalled.
            options: `position_ids` `[B, T]` that start again at 0, `seq_idx` `[B, T]` or `cu_seq_lens_q` begin packed
                sequences: the state starts afresh there. `num_items_in_batch` divides the summed loss.

        Raises `InputError` for `inputs_embeds`, caches of other models, and masks that do not fit.
        """
        symbols = self.config.vocab_size
        tokens, mask, reset = checked(input_ids, attention_mask, past_key_values, options, symbols)
        cache = self._cache(past_key_values, use_cache)  # type: ignore[arg-type]
        if tokens.shape[1] == 1 and labels is None and self._steps(cache, mask, reset):
            logits = self._step(tokens, cache)[:, None]  # type: ignore[arg-type]
            out = CausalLMOutputWithPast(logits=logits, past_key_values=cache)  # type: ignore[arg-type]
            return out.to_tuple() if return_dict is False else out
        hidden, penalties = self._read(tokens, mask, reset, cache, written_from)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits, loss = self.inn.predict(hidden[:, kept]), None
        if labels is not None:
            if mask is not None:  # no symbol is predicted from padding on its left, and no padding is predicted
                begun = mask.cumsum(1) > 1
                labels = labels.masked_fill(~(mask & begun), -100)
            options = {k: v for k, v in options.items() if k in ("num_items_in_batch", "shift_labels", "ignore_index")}
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **options)
            loss = loss + sum(penalties.values())
        out = CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)  # type: ignore[arg-type]
        return out.to_tuple() if return_dict is False else out

    def _step(self, tokens: Tensor, cache: INNCache) -> Tensor:
        """Logits `[B, vocab]` after one symbol `[B, 1]` per stream."""
        remember = cache.written_from is None or cache.length < cache.written_from
        logits, state = self.inn.step_(tokens[:, 0], cache.owned(), remember=remember)
        cache.keep(state, Chunk(tokens), own=True)
        return logits

    def generate(self, inputs: Tensor | None = None, generation_config: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Write as every model of `transformers` does; see `GenerationMixin.generate`.

        The prompt is read and may be recalled; what the model itself writes is no evidence of what follows what, and is
        not (as in `inn.models.generate.generate`). A cache that is given is gone on from and changed.
        """
        given = self.generation_config if generation_config is None else generation_config
        use_cache = options.get("use_cache", given.use_cache)
        prompt = options.get("input_ids") if inputs is None else inputs
        mask = options.get("attention_mask")
        # A mask that is longer than the prompt covers what the cache has read, too.
        end = 1 if prompt is None else max(prompt.shape[1], 0 if mask is None else mask.shape[1])
        if use_cache is False:
            return super().generate(inputs, generation_config, written_from=end, **options)  # type: ignore[misc]
        cache = options.get("past_key_values")
        if cache is None:
            cache = options["past_key_values"] = INNCache()
        else:
            check_cache(cache)
        if getattr(given, "is_assistant", False):  # which is called again and again in the middle of a text
            cache.activate_past_recording()
            cache.written_from = end if cache.written_from is None else cache.written_from
            return super().generate(inputs, generation_config, **options)  # type: ignore[misc]
        recording, cache.written_from = cache.recording, end
        try:
            return super().generate(inputs, generation_config, **options)  # type: ignore[misc]
        finally:
            self._catch_up(cache)
            cache.written_from, cache.recording = None, recording
            cache.commit()


def projections(model: nn.Module) -> list[str]:
    """The names of all projections of the neurons, for `peft.LoraConfig(target_parameters=...)`.

    >>> projections(INN(vocab=27, neurons=2, width=8, rounds=1, recall=[]))[-1]
    'backbone.rounds.0.router.hear.weight'
    """
    return [f"{name}.weight" for name, m in model.named_modules() if isinstance(m, NeuronLinear)]
