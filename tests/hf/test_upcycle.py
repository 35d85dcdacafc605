"""A pretrained Mamba as a population: the same function at the start, and neurons that part as they are trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from inn.cli.main import main
from inn.data.tokens import EXAMPLE
from inn.inference.evaluate import evaluate
from inn.models.generate import complete
from inn.runs.directory import Run
from inn.runs.load import load
from inn.surgery.upcycle import Pretrained, upcycle
from inn.system.errors import InputError

transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")
SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}


def mamba(folder: Path, steps: int = 0, shards: str = "1GB", dtype=torch.float32, **fields):
    """A small `MambaForCausalLM`, trained for some steps on a text that repeats, saved in `folder`."""
    torch.manual_seed(0)
    model = transformers.MambaForCausalLM(transformers.MambaConfig(**{**SIZES, **fields})).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    text = torch.arange(2000).square() % 37
    for _ in range(steps):
        at = torch.randint(len(text) - 33, (4,))
        rows = torch.stack([text[i : i + 32] for i in at])
        model(rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder, max_shard_size=shards)
    return model.eval()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """The folder and the model of a Mamba that was trained a little."""
    folder = tmp_path_factory.mktemp("mamba") / "trained"
    return folder, mamba(folder, steps=20)


@pytest.fixture(scope="module")
def tokens():
    torch.manual_seed(1)
    return torch.randint(40, (3, 25))


@torch.no_grad()
def distance(model, pretrained, tokens) -> float:
    ours, theirs = model(tokens)[0], pretrained(tokens).logits
    assert theirs.abs().max() > 0.5  # there is something to get wrong
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"weights": "separate"},
        {"neurons": 1, "router": "none", "identity": "none"},
        {"neurons": 7, "router": "none"},
        {"router": "dendrites"},
        {"router": "dendrites", "weights": "separate", "neurons": 3},
        {"router": "bus", "update": "parallel"},
        {"router": "mixing", "update": "message-norm"},
        {"router": "static", "gate": "soft", "readout": "attention"},
        {"recall": [2, 3], "dropout": 0.1},
    ],
)
def test_the_population_computes_what_the_pretrained_model_computes(pretrained, tokens, fields):
    folder, theirs = pretrained
    model = upcycle(folder, **fields)
    assert distance(model, theirs, tokens) < 1e-5
    assert distance(model.double(), theirs.double(), tokens) < 1e-6  # theirs keeps norms and decays in float32
    theirs.float()


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 0},
        {"tie_word_embeddings": False, "steps": 5},
        {"use_conv_bias": False, "steps": 5},
        {"conv_kernel": 2, "expand": 3, "time_step_rank": 5},
        {"residual_in_fp32": False, "num_hidden_layers": 3},
        {"shards": "8KB"},
    ],
)
def test_every_shape_of_mamba(tmp_path, tokens, fields):
    theirs = mamba(tmp_path, **fields)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == ("shards" in fields)
    assert distance(upcycle(tmp_path, neurons=2), theirs, tokens) < 1e-5


def test_half_precision_is_widened(tmp_path, tokens):
    theirs = mamba(tmp_path, dtype=torch.bfloat16)
    model = upcycle(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert distance(model, theirs.float(), tokens) < 1e-5


def test_a_stream_goes_on_and_writing_is_the_same(pretrained, tokens):
    folder, theirs = pretrained
    model = upcycle(folder, weights="separate")
    with torch.no_grad():
        first, state = model(tokens[:, :9])
        rest, state = model(tokens[:, 9:], state)
        whole = theirs(tokens).logits
        torch.testing.assert_close(torch.cat([first, rest], 1), whole, atol=1e-5, rtol=0)
        greedy, written = theirs.generate(tokens[:1], max_new_tokens=12, do_sample=False, eos_token_id=None), []
        symbol, state = model(tokens[:1])[0][:, -1].argmax(-1), model(tokens[:1])[1]
        for _ in range(12):
            written.append(int(symbol))
            logits, state = model.step_(symbol, state)
            symbol = logits.argmax(-1)
    assert written == greedy[0, tokens.shape[1] :].tolist()


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": "shared", "router": "none"},
        {"weights": "shared", "router": "attention"},
        {"weights": "separate", "router": "none"},
        {"weights": "shared", "router": "dendrites"},
        {"weights": "shared", "router": "bus"},
    ],
)
def test_copies_begin_alike_and_part_as_they_are_trained(pretrained, fields):
    model = upcycle(pretrained[0], neurons=3, **fields).train()
    tokens = torch.arange(600).square().view(4, 150) % 37

    def outputs():
        with torch.no_grad():
            return model.graph.run(model.embed(tokens))[0]  # [B, T, N, D]

    start = outputs()
    assert (start - start[:, :, :1]).abs().max() < 1e-6
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for step in range(12):
        loss = F.cross_entropy(model(tokens[:, :-1])[0].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        if step == 0:
            assert model.graph.identity_gain.grad.abs().max() > 0
            silent = {n for n, p in model.named_parameters() if p.grad is None}
            assert not silent
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    end = outputs()
    size = end.square().mean().sqrt()
    for n in range(1, 3):
        assert (end[:, :, n] - end[:, :, 0]).square().mean().sqrt() > 1e-3 * size
    if fields["router"] != "none":  # and they have begun to talk
        router = model.graph.round(0).router
        spoken = (
            router.hear.weight[0, :, 16:]
            if fields["router"] == "dendrites"
            else (router.read if fields["router"] == "bus" else router.out.weight)
        )
        assert spoken.abs().max() > 1e-4


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"width": 32}, "model.width is 16 in a population made of"),
        ({"norm": "layer"}, "model.norm is rms"),
        ({"input": "split"}, "model.input is copy"),
        ({"zero_start": False}, "model.zero_start is True"),
        ({"readout": "concat"}, "readout 'concat' would need another head"),
        ({"weights": "communal", "communal_states": 4}, "communal weights are of low rank"),
        ({"identity": "embedding"}, "identity 'embedding' of deviation 1.0"),
        ({"identity": "none"}, "leaves the neurons alike for ever"),
        ({"identity_std": 0.0}, "leaves the neurons alike for ever"),
        ({"router": "dendrites", "gate": "soft"}, "a gate on dendrites"),
        ({"neurnos": 3}, "unknown field 'neurnos' of model kind 'inn'; did you mean 'neurons'"),
    ],
)
def test_a_population_that_would_compute_something_else_is_refused(pretrained, fields, sentence):
    with pytest.raises(InputError, match=sentence):
        upcycle(pretrained[0], **fields)


def changed(**fields):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def without(name: str):
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        save_file({key: t for key, t in load_file(path).items() if key != name}, path)

    return change


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda folder: shutil.rmtree(folder), "holds no config.json; give a folder"),
        (lambda folder: (folder / "config.json").write_text("{"), "it is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "it holds no fields"),
        (changed(model_type="mamba2"), "holds a model of type 'mamba2'; only 'mamba'"),
        (changed(hidden_act="gelu"), "has hidden_act gelu, and a neuron's memory knows silu only"),
        (changed(layer_norm_epsilon=1e-6), "has layer_norm_epsilon 1e-06"),
        (changed(use_bias=True), "has use_bias True"),
        (changed(tie_word_embeddings=False), "have no 'lm_head.weight'"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pickled weights"),
        (cut, "model.safetensors': it is damaged"),
        (without("backbone.layers.1.mixer.D"), "have no 'backbone.layers.1.mixer.D'"),
        (without("backbone.norm_f.weight"), "have no 'backbone.norm_f.weight'"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_a_sentence(pretrained, tmp_path, change, sentence):
    folder = Path(shutil.copytree(pretrained[0], tmp_path / "copy"))
    change(folder)
    with pytest.raises(InputError, match=sentence) as error:
        upcycle(folder)
    assert "\n" not in str(error.value)


# -- on the command line


@pytest.fixture(scope="module")
def with_tokenizer(pretrained, tmp_path_factory) -> Path:
    """The pretrained folder with a tokenizer of four tokens in it."""
    folder = Path(shutil.copytree(pretrained[0], tmp_path_factory.mktemp("mamba") / "whole"))
    (folder / "tokenizer.json").write_text(EXAMPLE)
    return folder


@pytest.fixture
def text(tmp_path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("ab a ba abab a b " * 400)
    return f"file:{path}"


TRAINING = ("--train.symbols", "2048", "--data.batch", "4", "--data.window", "32", "--train.threads", "1")


def test_from_a_folder_to_a_run_that_is_trained_further(with_tokenizer, pretrained, text, tmp_path, capsys):
    folder, run, tuned = Path(shutil.copytree(with_tokenizer, tmp_path / "mamba")), tmp_path / "up", tmp_path / "tuned"
    assert main(["upcycle", str(folder), str(run), "--model.neurons", "2", "--data.corpus", text, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["neurons"], facts["vocabulary"]) == (2, 40)
    model = load(run)
    assert model.vocabulary.size == 40  # 4 tokens, filled up
    assert distance(model, pretrained[1], torch.randint(40, (2, 20))) < 1e-5
    shutil.rmtree(folder)  # the run is whole without it
    assert main(["export", str(run), str(tmp_path / "out")]) == 0
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert distance(lambda x: (exported(x).logits, None), pretrained[1], torch.randint(40, (2, 20))) < 1e-5
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out")("ab a").input_ids == [2, 3, 0]
    capsys.readouterr()

    assert main(["eval", str(run), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["bpb"] == pytest.approx(before["bits"] * before["count"] / before["text"]["bytes"])
    assert main(["generate", str(run), "--prompt", "ab", "--tokens", "5", "--seed", "1"]) == 0
    assert main(["train", "--from", str(run), "--run", str(tuned), *TRAINING, "--train.lr", "3e-3"]) == 0
    shutil.rmtree(run)
    capsys.readouterr()
    assert main(["eval", str(tuned), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bits"] < before["bits"] - 1
    assert main(["train", "--resume", str(tuned)]) == 0


def test_a_run_that_is_only_weights_is_not_resumed(with_tokenizer, tmp_path, capsys):
    run = tmp_path / "up"
    assert main(["upcycle", str(with_tokenizer), str(run)]) == 0
    assert main(["train", "--resume", str(run)]) == 2
    assert f"inn train --from {run} --run DIR" in capsys.readouterr().err
    assert main(["upcycle", str(with_tokenizer), str(run)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, sentence",
    [
        ((), "holds no tokenizer.json; name one by --data.tokenizer PATH"),
        (("--data.vocabulary", "bytes"), "reads 40 symbols, and its vocabulary has 256 (bytes)"),
        (("--data.tokenizer", "none"), "there is no tokenizer at 'none'"),
        (("--model.width", "8"), "model.width is 16"),
        (("--model.kind", "lstm"), "a population is of kind 'inn', not 'lstm'"),
    ],
)
def test_mistakes_on_the_command_line(pretrained, tmp_path, capsys, options, sentence):
    run = tmp_path / "up"
    assert main(["upcycle", str(pretrained[0]), str(run), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_a_full_disk_leaves_nothing(with_tokenizer, tmp_path, monkeypatch):
    def full(*_):
        raise InputError("no space left")

    monkeypatch.setattr("inn.surgery.upcycle.save", full)
    assert main(["upcycle", str(with_tokenizer), str(tmp_path / "up")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_bytes_need_no_tokenizer(tmp_path, text):
    mamba(tmp_path / "bytes", vocab_size=256)
    run = tmp_path / "up"
    assert main(["upcycle", str(tmp_path / "bytes"), str(run), "--data.vocabulary", "bytes"]) == 0
    assert Run(run).given_vocabulary() is None
    model = load(run)
    assert len(complete(model, ["ab"], 3, seed=1)[0]) == 3
    assert evaluate(model, model.vocabulary.encode("abc" * 50)).count == 149


def test_what_was_read_is_named_by_its_content(pretrained):
    a, b = Pretrained(pretrained[0]), Pretrained(pretrained[0])
    assert a.sha256 == b.sha256
    assert len(a.sha256) == 64
