"""`generate` of transformers on an INN: every way of writing, against the model by itself."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, TextStreamer

from inn import InputError
from inn.data.vocabulary import Characters
from inn.hf import INNCache, build_tokenizer

GREEDY = {"do_sample": False, "max_new_tokens": 12}


def written(model, x: torch.Tensor, count: int = 12, state=None) -> torch.Tensor:
    """What the INN itself writes after one text `[T]`, by its own steps: the likeliest symbol each time."""
    logits, state = model.inn(x[None], state)
    symbol, found = logits[:, -1].argmax(-1), []
    for _ in range(count):
        found.append(symbol)
        logits, state = model.inn.step_(symbol, state, remember=False)
        symbol = logits.argmax(-1)
    return torch.cat((x, torch.cat(found)))


def lively(build, kind: str = "default"):
    """A model whose greedy texts go on changing: on one symbol again and again every way of writing agrees."""
    x = torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(1))
    for seed in range(8):
        model = build(kind, seed=seed)
        with torch.no_grad():
            for p in model.inn.parameters():
                p.mul_(2.5)
        if all(len(set(text[9:].tolist())) > 3 for text in model.generate(x, **GREEDY)):
            return model
    raise AssertionError("none of the models changes its symbol")


def test_greedy_writes_what_the_model_writes(kind, build, tokens):
    model, x = lively(build, kind), tokens(3, 9)
    texts = model.generate(x, **GREEDY)
    for row, text in zip(x, texts, strict=True):
        assert torch.equal(text, written(model, row))


def test_own_writing_is_not_recalled_nor_is_it_without_a_cache(build, tokens):
    model, x = lively(build), tokens(2, 9)
    assert torch.equal(model.generate(x, use_cache=False, **GREEDY), model.generate(x, **GREEDY))
    everything = x
    for _ in range(12):
        everything = torch.cat((everything, model(everything).logits[:, -1].argmax(-1, keepdim=True)), 1)
    assert not torch.equal(model.generate(x, **GREEDY), everything), "the test's model does not show the difference"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_writes_what_each_prompt_does(kind, build, tokens, side):
    model = lively(build, kind)
    prompts = [tokens(1, 9)[0], tokens(1, 4)[0], tokens(1, 1)[0]]
    rows, mask = torch.full((3, 9), 11), torch.zeros(3, 9, dtype=torch.long)
    for i, p in enumerate(prompts):
        place = slice(9 - len(p), 9) if side == "left" else slice(0, len(p))
        rows[i, place], mask[i, place] = p, 1
    texts = model.generate(rows, attention_mask=mask, **GREEDY)
    for p, text in zip(prompts, texts, strict=True):
        assert torch.equal(text[9:], written(model, p)[len(p) :])


@torch.no_grad()
def test_beams_are_those_of_a_search_by_hand(build, tokens):
    """The cache follows its beam: a beam's score is the sum of what the model says along it."""
    model, x = lively(build), tokens(2, 6)
    out = model.generate(
        x, num_beams=4, num_return_sequences=4, max_new_tokens=7, do_sample=False, output_scores=True,
        return_dict_in_generate=True, length_penalty=0.0,
    )  # fmt: skip
    for i, text in enumerate(out.sequences):
        state = model.inn(text[None, :6])[1]
        logits, nats = model.inn(text[None, :6])[0][:, -1], 0.0
        for symbol in text[6:]:
            nats += float(logits.log_softmax(-1)[0, symbol])
            logits, state = model.inn.step_(symbol[None], state, remember=False)
        assert abs(nats - float(out.sequences_scores[i])) < 1e-4
    assert torch.equal(out.sequences[[0, 4]], by_hand(model, x, 4, 7))


@torch.no_grad()
def by_hand(model, x: torch.Tensor, beams: int, count: int) -> torch.Tensor:
    """The best of a beam search that reads every candidate again from its first symbol."""
    best = []
    for row in x:
        kept = [(0.0, row)]
        for _ in range(count):
            further = []
            for nats, text in kept:
                hidden, state = model.inn.hidden(row[None])
                for symbol in text[len(row) :]:
                    hidden, state = model.inn.hidden(symbol[None, None], state, remember=False)
                said = model.inn.predict(hidden)[0, -1].float().log_softmax(-1)
                further += [(nats + float(said[s]), torch.cat((text, torch.tensor([s])))) for s in range(11)]
            kept = sorted(further, key=lambda b: -b[0])[:beams]
        best.append(kept[0][1])
    return torch.stack(best)


def test_samples_are_drawn_from_what_the_model_says(build, tokens):
    model, x = lively(build), tokens(1, 6)
    torch.manual_seed(0)
    drawn = model.generate(x.repeat(2000, 1), max_new_tokens=1, do_sample=True, top_k=0)[:, -1]
    shares = torch.bincount(drawn, minlength=11) / 2000
    assert (shares - model(x).logits[0, -1].softmax(-1)).abs().max() < 0.04
    torch.manual_seed(7)
    once = model.generate(x, max_new_tokens=30, do_sample=True)
    torch.manual_seed(7)
    assert torch.equal(model.generate(x, max_new_tokens=30, do_sample=True), once)


def test_several_samples_of_one_prompt_go_their_own_ways(build, tokens):
    model = lively(build)
    torch.manual_seed(0)
    texts = model.generate(tokens(1, 6), num_return_sequences=3, max_new_tokens=20, do_sample=True)
    for text in texts:  # each is as likely as the model by itself says
        again = model.generate(text[None, :20], do_sample=False, max_new_tokens=1)
        assert again.shape == (1, 21)
    assert len({tuple(t.tolist()) for t in texts}) == 3


def test_a_cache_is_gone_on_from_with_many_new_symbols(build, tokens):
    """Both as transformers passes it: the whole text again, or only what is new with a mask of all."""
    model, x, more = lively(build), tokens(1, 8), tokens(1, 5).flip(1)
    whole = torch.cat((x, more), 1)
    expected = written(model, whole[0])
    cache = model(x, use_cache=True).past_key_values
    assert torch.equal(model.generate(whole, past_key_values=cache, **GREEDY)[0], expected)
    cache = model(x, use_cache=True).past_key_values
    mask = torch.ones(1, 13, dtype=torch.long)
    got = model.generate(more, attention_mask=mask, past_key_values=cache, **GREEDY)
    assert torch.equal(got[0, 5:], expected[13:])


def test_a_conversation_goes_on_in_one_cache(build, tokens):
    """What the model wrote is not recalled later, what was put in is, wherever the turns are cut."""
    model, cache = lively(build), INNCache()
    text, state, read = tokens(1, 6), None, 0
    for turn in range(3):
        out = model.generate(text, past_key_values=cache, return_dict_in_generate=True, **GREEDY).sequences
        new = text[:, read:]
        hidden = None
        for at in range(new.shape[1]):  # its own last symbol was not read yet
            hidden, state = model.inn.hidden(new[:, at : at + 1], state, remember=turn == 0 or at > 0)
        symbol = model.inn.predict(hidden)[:, -1].argmax(-1)
        for t in range(12):
            assert out[0, text.shape[1] + t] == symbol, (turn, t)
            if t < 11:
                logits, state = model.inn.step_(symbol, state, remember=False)
                symbol = logits.argmax(-1)
        read = out.shape[1] - 1
        assert cache.get_seq_length() == read
        text = torch.cat((out, tokens(1, 3)), 1)


def test_long_prompts_are_read_in_chunks(build, tokens):
    model, x = lively(build), tokens(2, 23)
    expected = model.generate(x, **GREEDY)
    assert torch.equal(model.generate(x, prefill_chunk_size=5, past_key_values=INNCache(), **GREEDY), expected)
    mask = torch.ones_like(x)
    mask[0, :7] = 0
    expected = model.generate(x, attention_mask=mask, **GREEDY)
    assert torch.equal(model.generate(x, attention_mask=mask, prefill_chunk_size=5, **GREEDY), expected)


def test_text_is_streamed_as_it_is_written(build, tokens, capsys):
    model, tokenizer = lively(build), build_tokenizer(Characters("abcdefghijk"))
    text = model.generate(tokens(1, 6), streamer=TextStreamer(tokenizer, skip_prompt=True), **GREEDY)
    assert capsys.readouterr().out == tokenizer.decode(text[0, 6:]) + "\n"


@pytest.mark.parametrize("kind", ["default", "stack"])
@pytest.mark.parametrize("assistant", ["itself", "another", "llama", "prompt"])
def test_assisted_writing_is_greedy_writing(build, tokens, kind, assistant):
    """The state goes back to before what the assistant got wrong."""
    model, x = lively(build, kind), tokens(1, 9)
    greedy = {"do_sample": False, "max_new_tokens": 40}
    expected = model.generate(x, **greedy)
    if assistant == "prompt":
        options = {"prompt_lookup_num_tokens": 3}
    elif assistant == "llama":
        torch.manual_seed(0)
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        options = {"assistant_model": LlamaForCausalLM(LlamaConfig(vocab_size=11, **sizes)).eval()}
    else:
        options = {"assistant_model": model if assistant == "itself" else build(kind, seed=9)}
    cache = INNCache()
    assert torch.equal(model.generate(x, past_key_values=cache, **options, **greedy), expected)
    text, state = expected[:, :-1], None  # the state afterwards is that of the text
    _, state = model.inn.hidden(text[:, :9], state)
    _, state = model.inn.hidden(text[:, 9:], state, remember=False)
    assert cache.get_seq_length() == 48
    for key, t in state.items():
        torch.testing.assert_close(cache.state[key], t, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("kind", ["default", "narrow", "stack"])
@pytest.mark.parametrize("way", ["greedy", "sampled", "streams", "padded", "experience", "chunks", "prompt"])
def test_writing_in_parts_is_writing_at_once(build, tokens, kind, way):
    """Cut anywhere: the symbol written last is read by the next call, and is the model's own writing all the same."""
    model, rows = lively(build, kind), 1 if way in ("prompt", "greedy") else 3
    x, options = tokens(rows, 9), {"do_sample": way == "sampled", "top_k": 0}
    if kind == "stack" and way == "experience":
        pytest.skip("recalls nothing")
    if way == "experience":
        model.inn.experience = model.inn.after_reading(tokens(1, 200)[0])
    if way == "chunks":
        options["prefill_chunk_size"] = 4
    if way == "prompt":
        options["prompt_lookup_num_tokens"] = 3
    mask = torch.ones_like(x)
    if way == "padded":
        mask[0, :4], mask[2, :8] = 0, 0

    def fresh():
        torch.manual_seed(3)
        return model.experience_cache(rows) if way == "experience" else INNCache()

    def go_on(text, cache, count):
        whole = torch.cat((mask, torch.ones(rows, text.shape[1] - 9, dtype=torch.long)), 1)
        return model.generate(text, attention_mask=whole, past_key_values=cache, max_new_tokens=count, **options)

    once = go_on(x, fresh(), 16)
    for cut in (1, 2, 5, 11):
        cache = fresh()
        assert torch.equal(go_on(go_on(x, cache, cut), cache, 16 - cut), once), cut
    text, cache = x, fresh()
    for _ in range(16):
        text = go_on(text, cache, 1)
    assert torch.equal(text, once)


@torch.no_grad()
def test_whose_symbol_it_is_is_known_row_by_row(build, tokens):
    """One stream goes on with what it wrote, another with something else in its place."""
    model, cache = lively(build), INNCache()
    text = model.generate(tokens(2, 9), past_key_values=cache, **GREEDY)
    text[1, -1] = (text[1, -1] + 1) % 11
    model(text[:, -1:], past_key_values=cache)
    for row in range(2):
        _, state = model.inn.hidden(text[row : row + 1, :9])
        _, state = model.inn.hidden(text[row : row + 1, 9:-1], state, remember=False)
        _, state = model.inn.hidden(text[row : row + 1, -1:], state, remember=row == 1)
        for key, t in state.items():
            torch.testing.assert_close(cache.state[key][row : row + 1], t, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("returned", [1, 2])
@torch.no_grad()
def test_after_a_search_the_cache_is_of_the_texts_that_were_chosen(build, tokens, returned):
    model, x, cache = lively(build), tokens(2, 6), INNCache()
    options = {"do_sample": False, "num_beams": 4, "num_return_sequences": returned, "max_new_tokens": 7}
    texts = model.generate(x, past_key_values=cache, **options)
    assert torch.equal(texts, model.generate(x, **options))
    _, state = model.inn.hidden(texts[:, :6])
    _, state = model.inn.hidden(texts[:, 6:-1], state, remember=False)
    for key, t in state.items():
        torch.testing.assert_close(cache.state[key], t, atol=1e-10, rtol=1e-9)
    hidden, state = model.inn.hidden(texts[:, -1:], state, remember=False)
    again = model.generate(texts, past_key_values=cache, do_sample=False, max_new_tokens=1)
    assert torch.equal(again[:, -1], model.inn.predict(hidden)[:, -1].argmax(-1))


def test_a_cache_of_one_stream_serves_all_that_a_prompt_becomes(build, tokens):
    model, x = lively(build), tokens(1, 6)
    model.inn.experience = model.inn.after_reading(tokens(1, 200)[0])
    for options in ({"num_return_sequences": 3, "do_sample": True, "top_k": 1}, {"num_beams": 3, "do_sample": False}):
        got, expected = (
            model.generate(x, past_key_values=model.experience_cache(batch), max_new_tokens=5, **options)
            for batch in (1, 3)
        )
        assert torch.equal(got, expected)
    two = model.generate(tokens(2, 6), past_key_values=model.experience_cache(1), **GREEDY)
    assert torch.equal(two, model.generate(tokens(2, 6), past_key_values=model.experience_cache(2), **GREEDY))


@pytest.mark.parametrize("wrong", [
    {"inputs": torch.zeros(3, dtype=torch.long)},
    {"inputs": torch.zeros(1, 0, dtype=torch.long)},
    {"inputs": torch.full((1, 3), 11)},
    {"attention_mask": torch.zeros(2, 3)},
    {"attention_mask": torch.tensor([[1, 1, 1], [0, 0, 0]])},
    {"attention_mask": torch.ones(2, 2)},
    {"attention_mask": torch.ones(3)},
    {"attention_mask": torch.ones(1, 3)},
    {"inputs": None, "inputs_embeds": torch.zeros(1, 3, 24)},
    {"output_attentions": True, "return_dict_in_generate": True},
], ids=str)  # fmt: skip
def test_what_cannot_be_gone_on_from_is_refused_in_a_sentence(wrong, build, tokens):
    with pytest.raises(InputError):
        build().generate(**{"inputs": tokens(2, 3), "max_new_tokens": 2, **wrong})


def test_a_kind_of_cache_is_refused_in_our_own_words(build, tokens):
    for way in (
        {"cache_implementation": "static"},
        {"generation_config": GenerationConfig(cache_implementation="static")},
    ):
        with pytest.raises(InputError, match="one kind of cache"):
            build().generate(tokens(1, 3), max_new_tokens=2, **way)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 12])
def test_after_writing_the_cache_is_as_any_other(build, tokens, count):
    """Nothing is pending, whatever was taken back last; the past is no longer kept; what is read next is recalled."""
    model, x = lively(build), tokens(1, 9)
    cache = INNCache()
    text = model.generate(
        x, past_key_values=cache, do_sample=False, max_new_tokens=40, assistant_model=build(seed=9),
        stopping_criteria=[lambda ids, scores: torch.tensor([ids.shape[1] >= 9 + count])],
    )  # fmt: skip
    more, text = (text[:, -1:] + torch.arange(1, 5)) % 11, text[:, :-1]  # another symbol than it wrote
    assert (cache.pending, cache.recording) == (None, False)
    _, state = model.inn.hidden(x)
    _, state = model.inn.hidden(text[:, 9:], state, remember=False)
    _, state = model.inn.hidden(more, state)
    with torch.no_grad():
        model(more, past_key_values=cache)
    for key, t in state.items():
        torch.testing.assert_close(cache.state[key], t, atol=1e-10, rtol=1e-9)


def test_an_inn_assists_another_model(build, tokens):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=11, **sizes)).eval()
    with torch.no_grad():
        for p in llama.parameters():
            p.mul_(40)
    x = tokens(1, 9)
    expected = llama.generate(x, do_sample=False, max_new_tokens=30)
    got = llama.generate(x, do_sample=False, max_new_tokens=30, assistant_model=build().float())
    assert torch.equal(got, expected)


def test_rows_that_have_ended_wait_for_the_others(build, tokens):
    model, x = lively(build), tokens(3, 9)
    texts = model.generate(x, **GREEDY)
    end = int(texts[0, 12])
    stopped = model.generate(x, eos_token_id=end, pad_token_id=11, **GREEDY)
    for text, got in zip(texts[:, 9:].tolist(), stopped[:, 9:].tolist(), strict=True):
        expected = text[: text.index(end) + 1] if end in text else text
        assert got == expected + [11] * (len(got) - len(expected))


def test_writing_starts_from_what_is_given(build, tokens):
    """The cache that `experience_cache` makes: tables of a text, nothing else."""
    model, x = lively(build), tokens(2, 6)
    with pytest.raises(InputError, match="no experience"):
        model.experience_cache()
    model.inn.experience = model.inn.after_reading(tokens(1, 200)[0])
    before = model.inn.experience.clone()
    got = model.generate(x, past_key_values=model.experience_cache(2), **GREEDY)
    for row, text in zip(x, got, strict=True):
        assert torch.equal(text, written(model, row, state=model.inn.experience))
    assert not torch.equal(got, model.generate(x, **GREEDY)), "what was recalled says nothing"
    assert all(torch.equal(before[key], t) for key, t in model.inn.experience.items())
    assert torch.equal(model(x).logits, model.inn(x)[0]), "scoring starts fresh"


def test_a_cache_of_another_model_is_refused(build, tokens):
    from transformers import DynamicCache

    with pytest.raises(InputError, match="DynamicCache"):
        build().generate(tokens(1, 3), past_key_values=DynamicCache(), **GREEDY)
