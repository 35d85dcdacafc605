"""From files: the source's dtype and bytes, what a text begins with, templates, and files that are broken."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import processors

from inn.cli.main import main
from inn.compress import pipeline, rows_of
from inn.compress.decoder import Frame, encoder, find_decoder, frame_of, open_decoder, weight_bytes
from inn.compress.measure import score
from inn.system.errors import InputError

SMALL = {"rows": 4, "length": 32, "windows": 3, "keep": 0.5}
TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content | trim }}\n{% endfor %}"


@pytest.fixture
def source(decoder, tmp_path):
    """A folder of a model in bfloat16, whose tokenizer begins every text with its symbol 1, and has a template."""
    folder = tmp_path / "source"
    shutil.copytree(decoder / "model", folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    begin = tokenizer.convert_ids_to_tokens(1)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, 1)]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_text("as it was")
    return folder


@pytest.mark.parametrize("dtype, wanted", [("auto", torch.bfloat16), ("float32", torch.float32)])
def test_what_is_written_has_the_dtype_of_the_source_or_what_was_asked_for(source, decoder, tmp_path, dtype, wanted):
    out = tmp_path / "small"
    found = pipeline.run(source, decoder / "text", out, dtype=dtype, **SMALL)
    weights = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {wanted}
    assert transformers.AutoModelForCausalLM.from_pretrained(out).dtype == wanted
    assert found["dtype"] == str(wanted).removeprefix("torch.")
    assert found["before"]["megabytes"] == (source / "model.safetensors").stat().st_size / 1e6
    assert found["after"]["megabytes"] == (out / "model.safetensors").stat().st_size / 1e6
    assert (found["after"]["megabytes"] < found["before"]["megabytes"]) is (wanted == torch.bfloat16)


def test_what_is_larger_than_its_source_is_said_to_be(source, decoder, tmp_path, capsys):
    words = ["compress", str(source), "--calibrate", str(decoder / "text"), "--keep", "0.5", "--rows", "4"]
    words += ["--length", "32", "--windows", "3"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "It is larger" not in said
    assert said.startswith("the plan covers 100% of the layers' weights")
    assert main([*words, "--out", str(tmp_path / "b"), "--dtype", "float32"]) == 0
    assert "It is larger than what it was made of" in capsys.readouterr().out


def test_what_lies_beside_the_weights_goes_along(source, decoder, tmp_path):
    out = tmp_path / "small"
    pipeline.run(source, decoder / "text", out, **SMALL)
    assert (out / "LICENSE").read_text() == "as it was"
    assert (out / "generation_config.json").exists()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer("ab")["input_ids"][0] == 1


def test_rows_begin_as_the_tokenizer_begins_them(source, decoder):
    model, tokenizer = open_decoder(source)
    frame = frame_of(tokenizer)
    assert frame == Frame((1,))
    text = encoder(tokenizer)((decoder / "text").read_text())
    assert text[0] != 1
    rows = rows_of(text, 5, 16, 0, frame)
    assert rows.shape == (5, 16)
    assert (rows[:, 0] == 1).all()
    assert torch.equal(rows[:, 1:], rows_of(text, 5, 15, 0))
    _, scored = pipeline.texts(decoder / "text", None, encoder(tokenizer), 16, 2, frame)
    assert len(scored) == 2 * 15
    found = score(model, scored, 16, frame=frame)
    assert found.count == 2 * 15  # the first symbol of the text too: it is read after the beginning
    with torch.no_grad():
        logits = model(input_ids=frame.around(scored.view(2, 15))).logits
    wanted = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), scored)
    assert found.nats == pytest.approx(float(wanted), rel=1e-4)


def test_a_template_stands_around_every_row(source, decoder, tmp_path):
    model, tokenizer = open_decoder(source)
    frame = frame_of(tokenizer, chat=True)
    assert tokenizer.decode(frame.before) == "<user> "
    assert tokenizer.decode(frame.after) == "\n"
    row = frame.around(torch.tensor([encoder(tokenizer)("abc").tolist()]))[0]
    whole = tokenizer.apply_chat_template([{"role": "user", "content": "abc"}], tokenize=False)
    assert tokenizer.decode(row) == whole
    text = encoder(tokenizer)((decoder / "text").read_text())
    assert score(model, text[:20], frame.size + 10, frame=frame).count == 20
    found = pipeline.run(source, decoder / "text", tmp_path / "small", chat=True, **SMALL)
    assert found["scored_symbols"] == 3 * (32 - frame.size)
    with pytest.raises(InputError, match="leave no room beside"):
        pipeline.run(source, decoder / "text", tmp_path / "b", chat=True, **{**SMALL, "length": frame.size})


def test_a_tokenizer_without_a_template_has_no_chat(decoder, tmp_path):
    with pytest.raises(InputError, match="has no chat template; leave --chat out"):
        pipeline.run(decoder / "model", decoder / "text", tmp_path / "small", chat=True, **SMALL)


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lacking(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "up_proj" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def of_another_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": config["intermediate_size"] + 8}))


BROKEN = {
    "cut short": (cut, "cannot be opened by transformers"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be opened by transformers"),
    "without a tensor": (lacking, "up_proj.weight, 1 in all): it is damaged"),
    "of another size": (of_another_size, "cannot be opened by transformers"),
    "configured by no JSON": (lambda folder: (folder / "config.json").write_text("{"), "cannot be opened"),
    "with a broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be opened"),
    "an encoder": (
        lambda folder: transformers.T5Config().save_pretrained(folder), "is a model of type t5, which is no decoder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_one_sentence(source, decoder, tmp_path, capsys, how):
    spoil, says = BROKEN[how]
    spoil(source)
    words = ["compress", str(source), "--calibrate", str(decoder / "text"), "--out", str(tmp_path / "small")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert len(error) < 500
    assert not (tmp_path / "small").exists()


def test_a_name_is_looked_for_in_the_cache(source, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, local_files_only: str(source))
    assert find_decoder("someone/model") == source
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"'someone/model' does not exist; give a folder.*hf download NAME"):
        find_decoder("someone/model")


def test_bytes_are_those_of_the_weights_alone(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(b"123")
    (tmp_path / "model-2.safetensors").write_bytes(b"45")
    (tmp_path / "pytorch_model.bin").write_bytes(b"123456789")
    (tmp_path / "config.json").write_text("{}")
    assert weight_bytes(tmp_path) == 5
    assert weight_bytes(tmp_path / "model-1.safetensors") == 3
