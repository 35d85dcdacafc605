"""Layers and hidden units of Hugging Face decoders as organs: back in the donor they are the donor, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch

import inn
from inn.compress.blocks import layers_of
from inn.surgery.organ import Organ
from inn.system.errors import InputError

transformers = pytest.importorskip("transformers")
SAME = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2}
GPT = {"vocab_size": 50, "n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 64}
TOKENS = torch.arange(20).reshape(2, 10)
CASES = {
    "llama": lambda **more: transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SAME, **more})),
    "gpt2": lambda **more: transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**GPT, **more})),
    "neox": lambda **more: transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**{**SAME, **more})),
    "gemma2": lambda **more: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**{**SAME, "head_dim": 8, "num_key_value_heads": 2, "pad_token_id": 0, **more})
    ),
}


def decoder(name="llama", seed=0, **more):
    torch.manual_seed(seed)
    return CASES[name](**more).eval()


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("name", list(CASES))
def test_cut_saved_loaded_and_grafted_is_the_donor(name, tmp_path):
    donor = decoder(name)
    base = copy.deepcopy(donor)
    with torch.no_grad():
        for p in base.parameters():
            if p is not base.get_input_embeddings().weight:
                p.mul_(1.5)
    organ = Organ.load(inn.cut(donor, rounds=[1, 2]).save(tmp_path / "layers.organ"))
    new, bar = inn.graft(base, organ), logits(base)
    layers, theirs = layers_of(new)[1], layers_of(donor)[1]
    for i in range(4):
        same = all(torch.equal(a, b) for a, b in zip(layers[i].parameters(), theirs[i].parameters()))
        assert same == (i in (1, 2))
    assert torch.equal(logits(inn.graft(new, inn.cut(base, rounds=[1, 2]))), bar)
    assert torch.equal(logits(inn.graft(donor, organ)), logits(donor))
    units = Organ.load(inn.cut(donor, neurons=[0, 5, 7], layers=[2, 3]).save(tmp_path / "units.organ"))
    assert torch.equal(logits(inn.graft(donor, units)), logits(donor))
    assert not torch.equal(logits(inn.graft(base, units)), bar)
    assert torch.equal(logits(inn.graft(inn.graft(base, units), inn.cut(base, neurons=[0, 5, 7], layers=[2, 3]))), bar)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_layers_put_in_make_a_deeper_decoder_that_writes_as_it_reads(name, tmp_path):
    donor = decoder(name)
    deeper = inn.graft(donor, inn.cut(donor, rounds=[2, 3]), at=2, insert=True)
    assert deeper.config.num_hidden_layers == 6
    written = deeper.generate(TOKENS, max_new_tokens=4, do_sample=False, pad_token_id=0)
    again = deeper.generate(TOKENS, max_new_tokens=4, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(written, again)
    deeper.save_pretrained(tmp_path)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(opened), logits(deeper))
    fewer = inn.graft(deeper, inn.cut(donor, rounds=[2, 3]), at=4)  # what stands there now
    assert torch.equal(logits(fewer), logits(deeper))


def test_a_frozen_graft_trains_its_layers_and_adapters_work_beside_them():
    donor = decoder()
    frozen = inn.graft(donor, inn.cut(donor, rounds=[1]), at=2, freeze=True)
    trained = {name.split(".")[2] for name, p in frozen.named_parameters() if p.requires_grad}
    assert trained == {"2"}
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(frozen, peft.LoraConfig(target_modules=["q_proj", "up_proj"], r=2)).eval()
    assert torch.equal(logits(adapted), logits(frozen))
    adapted(TOKENS).logits.sum().backward()
    assert any(p.grad is not None for name, p in adapted.named_parameters() if "lora" in name)
    for function in (lambda: inn.cut(adapted, rounds=[0]), lambda: inn.graft(adapted, inn.cut(donor, rounds=[0]))):
        with pytest.raises(InputError, match="has an adapter attached"):
            function()


@pytest.mark.filterwarnings("ignore:the embedding of this model")
def test_what_does_not_fit_is_named_with_its_numbers(tmp_path):
    donor = decoder()
    organ, units = inn.cut(donor, rounds=[1, 2]), inn.cut(donor, neurons=[20], layers=[1])
    graph = inn.INN(vocab=9, neurons=2, width=4, rounds=2)
    for base, given, fields, sentence in (
        (decoder(hidden_size=32), organ, {}, "its hidden_size is 16, and the base's is 32"),
        (decoder(num_attention_heads=4), organ, {}, "its num_attention_heads is 2, and the base's is 4"),
        (decoder(intermediate_size=32), organ, {}, r"'mlp.gate_proj.weight' is \[24, 16\], and the base's \[32, 16\]"),
        (decoder(intermediate_size=16), units, {}, "it has hidden unit 20, and 'mlp.gate_proj.weight' has 16"),
        (decoder("neox"), organ, {}, "its layer is LlamaDecoderLayer, and the base's is GPTNeoXLayer"),
        (donor, organ, {"at": 3}, "an organ of 2 layers can be grafted at from 0 to 2, not at 3"),
        (donor, units, {"insert": True}, "leave insert and freeze out"),
        (graph, organ, {}, "it is of a decoder, and the base is a INN"),
        (donor, inn.cut(graph, rounds=[0]), {}, "it is of a graph, and the base is a LlamaForCausalLM"),
    ):
        with pytest.raises(InputError, match=sentence):
            inn.graft(base, given, **fields)
    for fields, sentence in (
        ({"rounds": [0, 2]}, "others between them"),
        ({"rounds": [4]}, "there is no layer 4"),
        ({"neurons": [24]}, "there is no hidden unit 24"),
        ({"rounds": [0], "layers": [0]}, "leave layers out"),
    ):
        with pytest.raises(InputError, match=sentence):
            inn.cut(donor, **fields)
    with pytest.raises(InputError, match="layer 1 is in experts"):
        inn.cut(inn.split(donor, 2, 1), neurons=[0], layers=[1])
    with pytest.raises(InputError, match=r"layer 1 of the base and its own differ in 'mlp.keys'"):
        inn.graft(inn.split(donor, 2, 1), organ)
    with pytest.warns(UserWarning, match="embedding of this model is not that of the organ's donor"):
        inn.graft(decoder(seed=1), organ)
    for change, sentence in (
        ({"layers": [1, 5]}, "do not follow one another"),
        ({"layers": [1]}, "its weights differ in their layers"),
        ({"layers": "x"}, "does not name its layers"),
    ):
        bad = Organ({**organ.about, "decoder": {**organ.about["decoder"], **change}}, organ.tensors)
        with pytest.raises(InputError, match=sentence):
            Organ.load(bad.save(tmp_path / "bad.organ"))
