"""An INN behind the interface of `transformers`: it holds an `inn.INN`, whose weights and code are the only ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from inn.hf.base import INNPreTrainedModel
from inn.hf.cache import Chunk, INNCache
from inn.hf.inputs import check_cache, check_prompt, checked
from inn.hf.losses import check_labels, symbol_loss, targets
from inn.nn.population import Linear, NeuronLinear
from inn.system.errors import InputError


class INNModel(INNPreTrainedModel):
    """An INN without its head: symbols `[B, T]` -> `last_hidden_state` `[B, T, hidden_size]`.

    >>> from inn.hf import INNHFConfig
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
        given = self._given(input_ids, attention_mask, past_key_values, use_cache, options)
        tokens, mask, reset, cache, rounds = given
        read = self._read(tokens, mask, reset, cache, rounds=rounds)
        out = BaseModelOutputWithPast(read.hidden, cache, read.rounds)  # type: ignore[arg-type]
        return self._returned(out, return_dict)


class INNForCausalLM(INNPreTrainedModel, GenerationMixin):
    """An INN as a causal language model of `transformers`: symbols `[B, T]` -> logits `[B, T, vocab_size]`.

    >>> from inn import INN
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
                `output_hidden_states` gives what `INN.predict` takes before the first round and after each.

        The first symbol of a text is no target, wherever it stands (`targets`).

        Raises `InputError` for `inputs_embeds`, caches of other models, and masks and labels that do not fit.
        """
        given = self._given(input_ids, attention_mask, past_key_values, use_cache, options)
        tokens, mask, reset, cache, rounds = given
        if tokens.shape[1] == 1 and labels is None and not rounds and self._steps(cache, mask, reset):
            logits = self._step(tokens, cache)[:, None]  # type: ignore[arg-type]
            out = CausalLMOutputWithPast(logits=logits, past_key_values=cache)  # type: ignore[arg-type]
            return self._returned(out, return_dict)
        read = self._read(tokens, mask, reset, cache, written_from, rounds)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits, loss = self.inn.predict(read.told[:, kept]), None
        if labels is not None:
            check_labels(labels, tokens)
            if logits.shape[1] != tokens.shape[1]:
                raise InputError("a loss takes the logits of all positions: leave logits_to_keep out beside labels")
            loss, share = symbol_loss(logits, labels, mask, reset, options)
            loss = loss + sum(read.penalties.values()) * share
        elif read.penalties and options.get("num_items_in_batch") is not None:
            raise InputError(
                f"the loss is taken outside of the model, which adds {', '.join(read.penalties)} to it; leave label "
                "smoothing and a loss function out, or set that penalty to 0"
            )
        out = CausalLMOutputWithPast(loss, logits, cache, read.rounds)  # type: ignore[arg-type]
        return self._returned(out, return_dict)

    def targets(
        self, labels: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> Tensor:
        """Labels `[B, T]`, -100 where `forward` predicts none: padding, and the first symbol of every text.

        A loss that is summed over several batches is divided by how many are left of them all, the first of each row
        not counted (`num_items_in_batch`); `Trainer` does so.
        """
        _, mask, reset = checked(input_ids, attention_mask, None, options, self.config.vocab_size)
        return targets(labels, mask, reset)

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

        def setting(name: str) -> Any:
            value = options.get(name)
            return getattr(given, name, None) if value is None else value

        if (kind := setting("cache_implementation")) is not None:
            raise InputError(f"an INN has one kind of cache, its state; leave cache_implementation '{kind}' out")
        cache = options.get("past_key_values")
        if cache is not None:
            check_cache(cache)
        prompt = options.get("input_ids") if inputs is None else inputs
        mask = options.get("attention_mask")
        check_prompt(prompt, mask, cache, options, self.config.vocab_size)
        # A mask that is longer than the prompt covers what the cache has read, too.
        end = 1 if prompt is None else max(prompt.shape[1], 0 if mask is None else mask.shape[1])
        if options.get("use_cache", given.use_cache) is False:
            return super().generate(inputs, generation_config, written_from=end, **options)  # type: ignore[misc]
        shown = cache is not None or bool(setting("return_dict_in_generate"))
        if cache is None:
            cache = options["past_key_values"] = INNCache()
        if getattr(given, "is_assistant", False):  # which is called again and again in the middle of a text
            cache.activate_past_recording()
            cache.written_from = end if cache.written_from is None else cache.written_from
            return super().generate(inputs, generation_config, **options)  # type: ignore[misc]
        beams, returned = setting("num_beams") or 1, setting("num_return_sequences") or 1
        cache.repeat_to(1 if prompt is None else len(prompt), max(beams, returned))
        recording, cache.written_from = cache.recording, end
        follow = beams > 1 and shown
        if follow:  # the rows of the cache are of beams, and only some of those are returned
            cache.activate_past_recording()
        try:
            out = super().generate(inputs, generation_config, **options)  # type: ignore[misc]
            texts = out if isinstance(out, Tensor) else out.sequences
            new = texts[:, 0 if prompt is None else prompt.shape[1] - 1 :]  # from the prompt's last symbol on
            if follow:
                first = new[:, :1] != self.config.vocab_size
                if mask is not None:
                    first = first & (mask[:, -1:].to(first.device).repeat_interleave(returned, 0) != 0)
                self._follow(cache, new[:, :-1], first, torch.arange(len(new), device=new.device) // returned * beams)
        finally:
            self._catch_up(cache)
            cache.written_from, cache.recording = None, recording
            cache.commit()
        if cache.length == end + new.shape[1] - 2 and cache.batch_size == len(new):
            cache.unread = new[:, -1].clone()
        return out

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, next_sequence_length: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """See `GenerationMixin`; assisted writing, too, begins after what a cache that is given has read."""
        cache = kwargs.get("past_key_values")
        known = cache if next_sequence_length is None and isinstance(cache, INNCache) else INNCache()
        if 0 < known.length < (known.written_from or 0) <= input_ids.shape[1]:  # the whole text is given
            next_sequence_length = input_ids.shape[1] - known.length
        return super().prepare_inputs_for_generation(input_ids, next_sequence_length, **kwargs)  # type: ignore[misc]

    @torch.no_grad()
    def _follow(self, cache: INNCache, new: Tensor, first: Tensor, rows: Tensor) -> None:
        """Let a cache, whose rows are of beams, go back to the prompt and read the texts that were chosen instead.

        `new` `[B, T]` is read from the prompt's last symbol on, of which `first` says where it is none; `rows` `[B]`
        says in which row of the cache each text's prompt is.
        """
        cache.past(rows)
        mask = torch.cat((first, new[:, 1:] != self.config.vocab_size), 1)
        self._read(new.masked_fill(~mask, 0), None if bool(mask.all()) else mask, None, cache)


def projections(model: nn.Module) -> list[str]:
    """The names of all projections of the neurons, for `peft.LoraConfig(target_parameters=...)`.

    >>> from inn import INN
    >>> projections(INN(vocab=27, neurons=2, width=8, rounds=1, recall="none"))[-1]
    'backbone.rounds.0.router.hear.weight'
    """
    return [f"{name}.weight" for name, m in model.named_modules() if isinstance(m, NeuronLinear)]
