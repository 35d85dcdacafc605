"""The model behind `transformers` is the INN itself: the same weights, the same numbers, padding and packing exact."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache, LlamaConfig

from inn import INN, InputError
from inn.config.assemble import model_config
from inn.hf import INNCache, INNForCausalLM, INNForSequenceClassification, INNHFConfig, INNModel
from inn.models.build import build_model

KINDS = ("default", "distinct", "paper", "adaptive", "shared rounds", "bus", "stack")
TINY = {"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "slots": 64}


def test_the_weights_are_shared_and_the_logits_the_models(kind, build, tokens):
    model = build(kind)
    x = tokens(2, 9)
    assert torch.equal(model(x).logits, model.inn(x)[0])
    assert {p.data_ptr() for p in model.parameters()} == {p.data_ptr() for p in model.inn.parameters()}
    with torch.no_grad():
        model.inn.graph.rounds[0].memory.D.zero_()  # type: ignore[union-attr]
    assert torch.equal(model(x).logits, model.inn(x)[0])


def test_the_auto_classes_know_the_model():
    config = INNHFConfig(inn=TINY)
    assert isinstance(AutoModelForCausalLM.from_config(config), INNForCausalLM)
    assert isinstance(AutoModel.from_config(config), INNModel)
    assert AutoConfig.for_model("inn", inn=TINY).to_dict() == config.to_dict()


def test_a_new_model_has_the_weights_that_inn_starts_with():
    torch.manual_seed(3)
    ours = build_model(model_config(**TINY))
    torch.manual_seed(3)
    theirs = INNForCausalLM(INNHFConfig(inn=TINY)).inn
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_config_says_what_tools_ask_for(kind, build, tokens):
    model = build(kind)
    hidden = INNModel(model.config, model.inn)(tokens(1, 3)).last_hidden_state
    assert hidden.shape == (1, 3, model.config.hidden_size)
    assert model.config.vocab_size == 11
    assert model.config.num_hidden_layers == 2
    assert INNHFConfig.from_dict(model.config.to_dict()).build() == model.inn.config


def test_hidden_states_lead_to_the_logits(kind, build, tokens):
    model, x = build(kind), tokens(2, 5)
    out = INNModel(model.config, model.inn)(x, use_cache=True)
    assert torch.equal(model.inn.predict(out.last_hidden_state), model(x).logits)
    assert isinstance(out.past_key_values, INNCache)
    assert out.past_key_values.get_seq_length() == 5


def test_only_what_is_asked_for_is_predicted(build, tokens):
    model, x = build(), tokens(2, 7)
    every = model(x).logits
    assert torch.equal(model(x, logits_to_keep=0).logits, every)
    torch.testing.assert_close(model(x, logits_to_keep=2).logits, every[:, -2:], atol=1e-12, rtol=0)
    some = torch.tensor([1, 4])
    torch.testing.assert_close(model(x, logits_to_keep=some).logits, every[:, some], atol=1e-12, rtol=0)


def test_the_loss_is_nats_per_predicted_symbol(build, tokens):
    model, x = build(), tokens(2, 7)
    labels = x.clone()
    labels[0, 3:] = -100
    out = model(x, labels=labels)
    nats = torch.nn.functional.cross_entropy(
        out.logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
    )
    torch.testing.assert_close(out.loss, nats)
    assert torch.equal(model(x, labels=labels, return_dict=False)[0], out.loss)


def test_the_penalty_of_gates_is_part_of_the_training_loss(build, tokens):
    model = build(gate="soft", gate_penalty=2.0).train()
    x = tokens(2, 7)
    torch.manual_seed(0)
    trained = model(x, labels=x).loss
    penalty = model.inn(x)[1].penalties["gate"]
    assert penalty > 0.1
    torch.testing.assert_close(trained - model.eval()(x, labels=x).loss, penalty)


@pytest.mark.parametrize("side, ids", [("left", 0), ("left", 11), ("right", 7)])
def test_padding_changes_no_result(kind, side, ids, build, tokens):
    """Whatever number stands in it, on either side, in logits, gradients, loss and the state that is carried on."""
    model = build(kind)
    texts = [tokens(1, 9), tokens(1, 5).flip(1), tokens(1, 2)]
    row, mask = padded(texts, 9, side, ids)
    out = model(row, attention_mask=mask, labels=row, use_cache=True)
    for i, text in enumerate(texts):
        alone = model(text, labels=text, use_cache=True)
        place = slice(9 - text.shape[1], 9) if side == "left" else slice(0, text.shape[1])
        torch.testing.assert_close(out.logits[i, place], alone.logits[0], atol=1e-11, rtol=0)
        state = out.past_key_values.state.select_batch([i])
        for key, t in alone.past_key_values.state.items():
            torch.testing.assert_close(state[key], t, atol=1e-11, rtol=0)
    alone = [(model(t, labels=t).loss, t.shape[1] - 1) for t in texts]
    loss = sum(nats * n for nats, n in alone) / sum(n for _, n in alone)
    torch.testing.assert_close(out.loss, loss)
    weights = list(model.parameters())
    for a, b in zip(torch.autograd.grad(out.loss, weights), torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)  # transformers takes the loss in float32


def padded(texts: list[torch.Tensor], length: int, side: str, ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.full((len(texts), length), ids)
    mask = torch.zeros_like(rows)
    for i, text in enumerate(texts):
        place = slice(length - text.shape[1], length) if side == "left" else slice(0, text.shape[1])
        rows[i, place], mask[i, place] = text[0], 1
    return rows, mask


def test_the_tokenizers_padding_needs_no_mask(build, tokens):
    model, text = build(), tokens(1, 4)
    rows, mask = padded([text], 7, "left", 11)
    assert torch.equal(model(rows).logits, model(rows, attention_mask=mask).logits)
    assert torch.equal(model(rows).logits, model(rows, attention_mask=torch.ones_like(mask)).logits)


def test_after_a_text_on_the_left_padding_says_what_its_last_symbol_does(build, tokens):
    model, text = build(), tokens(1, 4)
    rows, mask = padded([text], 7, "right", 11)
    logits = model(rows, attention_mask=mask, logits_to_keep=1).logits
    torch.testing.assert_close(logits[0, 0], model(text).logits[0, -1], atol=1e-12, rtol=0)


def packings(lengths: list[int]) -> dict[str, dict[str, torch.Tensor]]:
    """The ways in which collators say where the texts of a row begin."""
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    ends = torch.tensor([0, *lengths]).cumsum(0).int()
    number = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)])[None]
    return {
        "positions": {"position_ids": positions},
        "ends": {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": max(lengths)},
        "number": {"seq_idx": number},
        "all": {"position_ids": positions, "cu_seq_lens_q": ends, "seq_idx": number},
    }


@pytest.mark.parametrize("kind, way", [(k, "positions") for k in KINDS] + [("default", w) for w in packings([1])])
def test_packed_texts_are_texts_of_their_own(kind, way, build, tokens):
    """In training too: the logits and all gradients are those of the texts apart."""
    model = build(kind, steady=True).train()
    texts = [tokens(1, 6), tokens(1, 1), tokens(1, 8).flip(1), tokens(1, 3)]
    packed = packings([t.shape[1] for t in texts])[way]
    row = torch.cat(texts, 1)
    labels = row.clone()
    labels[0, torch.tensor([0, 6, 7, 15])] = -100  # as DataCollatorWithFlattening has it
    out = model(row, labels=labels, **packed)
    apart = [model(t) for t in texts]
    torch.testing.assert_close(out.logits, torch.cat([a.logits for a in apart], 1), atol=1e-11, rtol=0)
    nats = [
        torch.nn.functional.cross_entropy(a.logits[0, :-1].float(), t[0, 1:], reduction="sum")
        for a, t in zip(apart, texts, strict=True)
    ]
    loss = torch.stack(nats).sum() / 14
    weights = list(model.parameters())
    for a, b in zip(torch.autograd.grad(out.loss, weights), torch.autograd.grad(loss, weights), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_padding_of_packed_texts_begins_nothing(build, tokens):
    """Position 0 stands at padding, too, and the state is carried past it."""
    model, x = build(), tokens(1, 6)
    first = model(x[:, :3], use_cache=True).past_key_values
    rows = torch.cat((torch.zeros(1, 2).long(), x[:, 3:]), 1)
    mask = torch.tensor([[1, 1, 1, 0, 0, 1, 1, 1]])
    position = torch.tensor([[0, 0, 3, 4, 5]])
    out = model(rows, attention_mask=mask, past_key_values=first, position_ids=position)
    torch.testing.assert_close(out.logits[:, 2:], model(x).logits[:, 3:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("wrong", [
    {"input_ids": None},
    {"input_ids": None, "inputs_embeds": torch.zeros(1, 3, 24)},
    {"attention_mask": torch.ones(1, 1, 3, 3)},
    {"attention_mask": torch.ones(1, 2)},
    {"past_key_values": DynamicCache()},
    {"input_ids": torch.zeros(3, dtype=torch.long)},
    {"input_ids": torch.zeros(1, 3)},
    {"attention_mask": torch.ones(2, 3)},
    {"attention_mask": torch.ones(1, 4)},
    {"attention_mask": torch.tensor([[1, 1, 2]])},
    {"attention_mask": torch.tensor([[0.0, -1e9, 0.0]])},
    {"position_ids": torch.arange(4)[None]},
    {"position_ids": torch.zeros(2, 3)},
    {"seq_idx": torch.zeros(1, 2)},
    {"cu_seq_lens_q": torch.tensor([0, 2])},
    {"output_attentions": True},
    {"labels": torch.zeros(1, 2, dtype=torch.long)},
    {"labels": torch.zeros(1, 3)},
    {"labels": torch.tensor([[1, 2, 11]])},
    {"labels": torch.tensor([[1, -1, 2]])},
    {"labels": torch.zeros(1, 3, dtype=torch.long), "logits_to_keep": 1},
])  # fmt: skip
def test_what_an_inn_cannot_read_is_refused_in_a_sentence(wrong, build, tokens):
    with pytest.raises(InputError):
        build()(**{"input_ids": tokens(1, 3), **wrong})


@pytest.mark.parametrize("option", ["output_attentions", "output_hidden_states", "return_dict"])
def test_the_configuration_asks_as_an_argument_does(option, build, tokens):
    """For what is refused as well."""
    model, x, value = build(), tokens(1, 3), option != "return_dict"
    found = []
    for way in ("argument", "configuration"):
        setattr(model.config, option, value if way == "configuration" else not value)
        try:
            found.append(model(x, **({option: value} if way == "argument" else {}), use_cache=False))
        except InputError as error:
            found.append(str(error))
    assert (found[0] == found[1]) if isinstance(found[0], str) else (type(found[0]), len(found[0])) == (
        type(found[1]), len(found[1])
    )  # fmt: skip


def test_hidden_states_of_every_round_lead_to_logits(kind, build, tokens):
    """The last are those of the head; padding is passed by, and a step gives what a pass does."""
    model, x, mask = build(kind), tokens(2, 5), torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    out = model(x, attention_mask=mask, output_hidden_states=True)
    assert len(out.hidden_states) == model.config.num_hidden_layers + 1
    assert {t.shape for t in out.hidden_states} == {(2, 5, model.config.hidden_size)}
    assert torch.equal(model.inn.predict(out.hidden_states[-1]), out.logits)
    assert torch.equal(out.logits, model(x, attention_mask=mask).logits)
    alone, cache = model(x[:1, 2:], output_hidden_states=True), INNCache()
    steps = [
        model(x[:1, t : t + 1], past_key_values=cache, output_hidden_states=True).hidden_states for t in range(2, 5)
    ]
    for r, whole in enumerate(out.hidden_states):
        torch.testing.assert_close(whole[:1, 2:], alone.hidden_states[r], atol=1e-11, rtol=0)
        torch.testing.assert_close(torch.cat([s[r] for s in steps], 1), alone.hidden_states[r], atol=1e-11, rtol=0)
    for a, b in zip(out.hidden_states[:-1], out.hidden_states[1:], strict=True):
        assert not torch.equal(a, b)


def test_a_state_of_another_batch_is_refused(build, tokens):
    model = build()
    cache = model(tokens(2, 3), use_cache=True).past_key_values
    with pytest.raises(ValueError, match="streams"):
        model(tokens(3, 3), past_key_values=cache)


@pytest.mark.parametrize("kind", ["lstm", "transformer", "ngram", "mamba-stack-transposed"])
def test_other_kinds_of_models_are_refused_in_a_sentence(kind):
    with pytest.raises(InputError, match=kind):
        INNForCausalLM.wrap(build_model(model_config(kind, vocab=5)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=kind):
        INNHFConfig(inn={"kind": kind, "vocab": 5})


def test_another_config_and_unknown_fields_are_refused():
    with pytest.raises(InputError, match="LlamaConfig"):
        INNHFConfig(inn=LlamaConfig())
    with pytest.raises(InputError, match="did you mean 'neurons'"):
        INNHFConfig(inn={"neuron": 3})


def test_the_vocabulary_cannot_be_resized(build):
    model = build()
    assert model.resize_token_embeddings() is model.inn.embedding
    assert model.resize_token_embeddings(11) is model.get_input_embeddings()
    with pytest.raises(InputError, match="12"):
        model.resize_token_embeddings(12)
    with pytest.raises(InputError, match="16"):
        model.resize_token_embeddings(pad_to_multiple_of=8)


@pytest.mark.parametrize("option", [{"vocab_size": 12}, {"hidden_size": 8}, {"tie_word_embeddings": False}], ids=str)
def test_what_the_models_own_fields_decide_is_not_said_twice(option, build, tmp_path):
    build(dtype=torch.float32).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=next(iter(option))):
        AutoModelForCausalLM.from_pretrained(tmp_path, **option)


def test_weights_in_bfloat16_score_as_the_model_does(build, tokens):
    model, x = build(dtype=torch.bfloat16), tokens(2, 20)
    logits = model(x).logits
    assert logits.dtype == torch.bfloat16
    assert torch.equal(logits, model.inn(x)[0])
    torch.testing.assert_close(logits.double(), build()(x).logits, atol=0.2, rtol=0)
    assert model.generate(x, max_new_tokens=3).shape == (2, 23)


def test_the_model_is_an_inn_wherever_one_is_asked_for(kind, build):
    assert isinstance(build(kind).inn, INN)


def test_votes_of_recall_are_in_the_logits_and_not_in_the_hidden_states(tokens):
    recall = {"kind": "counts", "contexts": [1, 2, 3], "slots": 64}
    config = INNHFConfig(inn={"vocab": 11, "neurons": 3, "width": 8, "rounds": 2, "recall": recall})
    model, x = INNForCausalLM(config).eval(), tokens(2, 12)
    read = model(x, output_hidden_states=True)
    assert torch.equal(read.logits, model.inn(x)[0])
    assert {h.shape[-1] for h in read.hidden_states} == {config.hidden_size}
    said = model.inn.predict(read.hidden_states[-1])  # by the neurons alone
    assert not torch.equal(said, read.logits)
    assert INNModel(config).eval()(x).last_hidden_state.shape == (2, 12, config.hidden_size)
    classes = INNForSequenceClassification(config).eval()
    assert classes(x).logits.shape == (2, 2)
