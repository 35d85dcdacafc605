"""All steps at once, from files to a folder, and the steps by themselves."""

from __future__ import annotations

import pytest
import torch

from inn.compress import pipeline
from inn.compress.blocks import neuronal
from inn.compress.decoder import encoder, open_decoder
from inn.compress.run import compress
from inn.system.errors import InputError

SMALL = {"rows": 4, "length": 32, "windows": 3}


def test_from_files_to_a_folder(decoder, tmp_path):
    said = []
    out = tmp_path / "small"
    found = pipeline.run(
        decoder / "model",
        decoder / "text",
        out,
        keep=0.5,
        heal_on=decoder / "text",
        minutes=0.02,
        **SMALL,
        report=lambda *what: said.append(what),
    )
    model, tokenizer = open_decoder(out)
    assert sum(p.numel() for p in model.parameters()) == found["after"]["parameters"] < found["before"]["parameters"]
    assert sorted(group["rank"] for group in found["groups"]) == sorted(
        {id(layer.reads): len(layer.reads.weight) for _, layer in neuronal(model)}.values()
    )
    assert list(dict.fromkeys(what for what, _, _ in said)) == ["scoring", "compressing", "healing"]
    assert said[-1] == ("scoring", 3, 3)
    assert encoder(tokenizer)("abc").tolist() == tokenizer("abc")["input_ids"]


def test_its_steps_give_what_it_gives(decoder, tmp_path):
    pipeline.run(decoder / "model", decoder / "text", tmp_path / "small", "svd-llm", 0.5, **SMALL)
    model, tokenizer = open_decoder(decoder / "model")
    text, scored = pipeline.texts(decoder / "text", None, encoder(tokenizer), 32, 3)
    assert (len(text), len(scored)) == (2880 - 288, 96)
    pipeline.compress(model, pipeline.rows_of(text, 4, 32), "svd-llm", 0.5)
    again, _ = open_decoder(tmp_path / "small")
    assert all(torch.equal(p, again.get_parameter(name)) for name, p in model.named_parameters())
    assert torch.get_float32_matmul_precision() == "highest"


def test_another_text_is_scored(decoder, tmp_path):
    (tmp_path / "other").write_text("b" * 40)
    encode = encoder(open_decoder(decoder / "model")[1])
    text, scored = pipeline.texts(decoder / "text", tmp_path / "other", encode, 20, 9)
    assert (len(text), len(scored), len(set(scored.tolist()))) == (2880, 40, 1)
    with pytest.raises(InputError, match="the text to score has 40 symbols and a window takes 41"):
        pipeline.texts(decoder / "text", tmp_path / "other", encode, 41, 9)


def test_quick_products_change_little(decoder):
    (one, tokenizer), (other, _) = (open_decoder(decoder / "model") for _ in range(2))
    rows = pipeline.rows_of(encoder(tokenizer)((decoder / "text").read_text()), 4, 32)
    a, b = pipeline.compress(one, rows, "svd-llm", 0.5), compress(other, rows, "svd-llm", 0.5)
    assert a.groups == b.groups
    assert sum(a.lost.values()) == pytest.approx(sum(b.lost.values()), rel=0.05)
