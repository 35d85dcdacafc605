"""Train, evaluate, generate, resume: the chain through the command line."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import yaml

from inn.config.settings import resolve_settings
from inn.data.subwords import SubWords
from inn.data.tokens import EXAMPLE
from inn.runs.load import load


def test_a_run_directory_is_complete(trained):
    assert {p.name for p in trained.iterdir()} >= {
        "config.yaml", "metrics.jsonl", "samples.txt", "summary.json", "vocabulary.json", "checkpoints",
    }  # fmt: skip
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert (config["model"]["width"], config["train"]["symbols"]) == (16, 1280)
    assert json.loads((trained / "summary.json").read_text())["status"] == "finished"


def test_training_talks_in_plain_lines_where_there_is_no_terminal(inn, small, corpus, tmp_path):
    run = tmp_path / "run"
    out = inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *small).out
    progress = [line for line in out.splitlines() if "% " in line]
    assert len(progress) == 5  # ten steps, a line every two
    for part in ("step 10/10", "100%", "BPC", "lr ", "char/s", "gradient ", "neurons ", " left"):
        assert part in progress[-1]
    assert "\r" not in out
    assert "\x1b" not in out
    assert sum("validation" in line for line in out.splitlines()) == 3
    assert "sample: " not in out  # on request; samples.txt has it
    assert "--- step" in (run / "samples.txt").read_text()
    assert f"inn eval {run}" in out
    assert f"inn generate {run}" in out


def test_what_a_run_was_resolved_to_can_be_trained_again(inn, trained):
    again = resolve_settings(str(trained / "config.yaml"))
    assert again.model.width == 16
    described = json.loads(inn("info", trained, "--json").out)
    assert described["settings"] == again.to_dict()


def test_eval_counts_every_symbol_after_the_first(inn, trained, corpus):
    size = len(corpus.read_text())
    facts = json.loads(inn("eval", trained, "--json").out)
    valid = size * 95 // 100 - size * 90 // 100
    assert facts["count"] == valid - 1
    assert facts["bpc"] == facts["bits"] == pytest.approx(facts["nats"] / math.log(2))
    assert set(facts["floors"]) == {"uniform", "unigram", "bigram", "trigram"}
    assert facts["floors"]["uniform"] > facts["floors"]["unigram"] > facts["floors"]["bigram"]


def test_eval_of_a_part_and_in_parallel(inn, trained):
    one = json.loads(inn("eval", trained, "--split", "train", "--limit", 6000, "--json").out)
    four = json.loads(inn("eval", trained, "--split", "train", "--limit", 6000, "--streams", 4, "--json").out)
    assert one["count"] == four["count"] == 5999
    assert one["bits"] == pytest.approx(four["bits"], abs=0.02)
    assert "trigram" in inn("eval", trained, "--split", "test").out


def test_eval_in_fresh_windows_counts_every_symbol(inn, trained, refused):
    whole = json.loads(inn("eval", trained, "--limit", 500, "--json").out)
    facts = json.loads(inn("eval", trained, "--limit", 500, "--window", 64, "--json").out)
    assert (facts["count"], facts["window"], facts["text"]["bytes"]) == (500, 64, 500)
    assert (whole["count"], whole["window"], whole["text"]["bytes"]) == (499, None, 499)
    assert facts["bits"] != whole["bits"]
    assert facts["bpb"] == pytest.approx(facts["bits"])
    assert "the state fresh every 64" in inn("eval", trained, "--limit", 500, "--window", 64).out
    assert "--window must be at least 1, not 0" in refused("eval", trained, "--window", 0)
    assert "leave one of them out" in refused("eval", trained, "--window", 8, "--streams", 2)


def test_generate_streams_the_prompt_and_what_follows(inn, trained):
    out = inn("generate", trained, "--prompt", "the graph", "--tokens", 30, "--seed", 1).out
    assert out.startswith("the graph")
    assert len(out) == len("the graph") + 30 + 1


def test_the_same_seed_writes_the_same_text(inn, trained):
    def text(*more):
        return json.loads(inn("generate", trained, "--tokens", 40, "--json", *more).out)["text"]

    assert text("--seed", 5) == text("--seed", 5)
    assert text("--seed", 5) != text("--seed", 6)
    assert text("--top-k", 1, "--seed", 5) == text("--top-p", "1e-9", "--temperature", "0.5", "--seed", 6)


def test_unknown_symbols_of_a_prompt(inn, refused, trained):
    sentence = refused("generate", trained, "--prompt", "a☃b", "--tokens", 3)
    assert "'☃'" in sentence
    assert "--unknown skip" in sentence
    assert inn("generate", trained, "--prompt", "t☃h", "--tokens", 3, "--unknown", "skip").code == 0


def test_training_begins_with_the_weights_of_another_run(inn, refused, trained, small, tmp_path):
    text, run = tmp_path / "more.txt", tmp_path / "more"
    text.write_text("the neuron says something to each neuron of the graph " * 200)
    options = [*small[small.index("--data.batch") :], "--train.lr", 1e-6, "--train.sample_every", 0]
    other = ["--data.corpus", f"file:{text}"]
    result = inn("train", "--from", trained, "--run", run, *other, *options)
    assert result.code == 0, result
    assert json.loads((run / "summary.json").read_text())["config"]["train"]["start"] == trained.name
    # hardly trained, it still says what the first one said, in its symbols, on the text of both
    assert load(run).vocabulary == load(trained).vocabulary
    ours, first = load(run), load(trained)
    for name, weight in first.state_dict().items():
        assert (ours.state_dict()[name] - weight).abs().max() < 1e-4, name
    sentence = refused("train", "--from", trained, "--run", tmp_path / "x", *other, *options, "--model.width", 8)
    assert sentence.startswith(f"the weights of run '{trained}' do not fit the model of these settings")
    assert "needs --run DIR" in refused("train", "--from", trained)
    assert "leave out everything else" in refused("train", "--resume", run, "--from", trained)
    symbols = ("--data.vocabulary", "bytes")
    sentence = refused("train", "--from", trained, "--run", tmp_path / "x", *other, *options, *symbols)
    assert "reads other symbols" in sentence
    assert "is not a run" in refused("train", "--from", tmp_path / "none", "--run", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_recipe_may_say_how_another_run_is_trained_on(inn, trained, small, corpus, tmp_path):
    run = tmp_path / "run"
    options = ["--data.corpus", f"file:{corpus}", *small[small.index("--data.batch") :]]
    assert inn("train", "demo", "--from", trained, "--run", run, *options).code == 0
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["train"]["start"] == str(trained)
    assert settings["train"]["lr"] == 0.005  # the recipe's
    assert settings["data"]["tokenizer"] is None  # the same text has the same symbols
    assert settings["model"]["width"] == 16


def test_a_run_begun_from_another_begins_there_again(inn, trained, small, corpus, tmp_path):
    """Killed before its first checkpoint, it has still the other's weights and not fresh ones."""
    run = tmp_path / "run"
    options = [*small[small.index("--data.batch") :], "--train.lr", 1e-9]
    assert inn("train", "--from", trained, "--run", run, *options).code == 0
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    assert inn("train", "--resume", run).code == 0
    for name, weight in load(trained).state_dict().items():
        assert (load(run).state_dict()[name] - weight).abs().max() < 1e-6, name


def test_a_tokenizer_is_kept_in_the_run(inn, small, corpus, tmp_path):
    tokenizer, run = tmp_path / "tokenizer.json", tmp_path / "run"
    tree = {**json.loads(EXAMPLE), "model": json.loads(SubWords([(116, 104), (256, 101)])._tokenizer.to_str())["model"]}
    tokenizer.write_text(json.dumps(tree))
    text = ("--data.corpus", f"file:{corpus}", "--data.tokenizer", tokenizer)
    result = inn("train", "demo", "--run", run, *text, *small)
    assert result.code == 0, result
    assert "token/s" in result.out
    tokenizer.unlink()
    facts = json.loads(inn("eval", run, "--json").out)
    assert facts["metric"] == "bits"
    assert facts["bpb"] == pytest.approx(facts["bits"] * facts["count"] / facts["text"]["bytes"])
    assert inn("generate", run, "--prompt", "the ☃", "--tokens", 9, "--seed", 1).out.startswith("the ☃")
    assert inn("train", "--resume", run).code == 0
    assert json.loads(inn("info", run, "--json").out)["settings"]["model"]["vocab"] == 258


def test_resume_goes_on_from_a_checkpoint(inn, small, corpus, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for run in (whole, cut):
        options = ["--data.corpus", f"file:{corpus}", *small, "--train.keep", 5]
        assert inn("train", "demo", "--run", run, *options).code == 0
    for step in cut.glob("checkpoints/step-*"):
        if step.name != "step-00000004":
            for file in step.iterdir():
                file.unlink()
            step.rmdir()
    result = inn("train", "--resume", cut)
    assert result.code == 0
    assert "from step 4" in result.out
    weights = "checkpoints/step-00000010/model.safetensors"
    assert (cut / weights).read_bytes() == (whole / weights).read_bytes()


def test_resume_falls_back_to_the_previous_good_checkpoint_and_says_so(inn, own_run):
    newest = own_run / "checkpoints/step-00000010/model.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    result = inn("train", "--resume", own_run)
    assert result.code == 0
    assert "damaged" in result.out
    assert "from step 8" in result.out
    assert json.loads((own_run / "summary.json").read_text())["step"] == 10


@pytest.mark.parametrize("kind", ["lstm", "ngram", "mamba-stack"])
def test_every_kind_goes_through_the_same_commands(inn, small, corpus, tmp_path, kind):
    common = small[small.index("--data.batch") :]
    width = [] if kind == "ngram" else ["--model.width", "16"]
    run = tmp_path / "run"
    assert (
        inn(
            "train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", "--model.kind", kind, *width, *common
        ).code
        == 0
    )
    assert json.loads(inn("eval", run, "--json").out)["bits"] > 0
    assert len(json.loads(inn("generate", run, "--tokens", 5, "--seed", 1, "--json").out)["text"]) == 5
    assert json.loads(inn("info", run, "--json").out)["kind"] == kind


@pytest.mark.parametrize("vocabulary, key", [("bytes", "bpb"), ("words", "ppl")])
def test_bytes_and_words_report_their_own_measure(inn, small, corpus, tmp_path, vocabulary, key):
    run = tmp_path / "run"
    corpus_option = ("--data.corpus", f"file:{corpus}", "--data.vocabulary", vocabulary)
    result = inn("train", "demo", "--run", run, *corpus_option, *small)
    assert result.code == 0, result
    assert key.upper() in result.out
    facts = json.loads(inn("eval", run, "--json").out)
    assert facts["metric"] == key.upper()
    assert facts[key] == pytest.approx(facts["perplexity"] if key == "ppl" else facts["bits"])


@pytest.mark.parametrize("vocabulary", ["bytes", "characters", "words", "bpe"])
def test_every_score_comes_in_measures_of_the_text_too(inn, small, corpus, tmp_path, vocabulary):
    run = tmp_path / "run"
    units = ("--data.units", 280) if vocabulary == "bpe" else ()
    symbols = ("--data.vocabulary", vocabulary, *units)
    result = inn("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", *symbols, *small)
    assert result.code == 0, result
    facts = json.loads(inn("eval", run, "--split", "test", "--json").out)
    text, nats = facts["text"], facts["nats"] * facts["count"]
    assert facts["bpb"] == pytest.approx(nats / math.log(2) / text["bytes"])
    assert facts["bpc"] == pytest.approx(nats / math.log(2) / text["characters"])
    assert facts["ppl"] == pytest.approx(math.exp(nats / text["words"]))
    scored = corpus.read_text()[-text["bytes"] :]
    assert len(scored.replace("\n", " <eos> ").split()) == text["words"]
    own = {"bytes": "bytes", "characters": "characters", "words": "words"}.get(vocabulary)
    assert own is None or text[own] == facts["count"]
    out = inn("eval", run, "--split", "test").out
    said_already = vocabulary in ("bytes", "characters")  # ASCII: bits per character are bits per byte
    assert (f"{facts['bpb']:.3f} bits per byte" in out) != said_already
    assert f"{facts['count']:,} " in out


def test_sub_words_go_through_the_same_commands(inn, small, corpus, tmp_path):
    run = tmp_path / "run"
    symbols = ("--data.corpus", f"file:{corpus}", "--data.vocabulary", "bpe", "--data.units", 280)
    result = inn("train", "demo", "--run", run, *symbols, *small)
    assert result.code == 0, result
    assert "sub-words" in result.out
    assert json.loads((run / "vocabulary.json").read_text())["kind"] == "bpe"
    assert json.loads(inn("info", run, "--json").out)["settings"]["model"]["vocab"] == 280
    assert json.loads(inn("eval", run, "--json").out)["metric"] == "bits"
    out = inn("generate", run, "--prompt", "a naïve ☃", "--tokens", 20, "--seed", 1).out
    assert out.startswith("a naïve ☃")
    assert inn("train", "--resume", run).code == 0


def test_words_read_as_unknown_leave_no_bits_per_byte(inn, small, tmp_path):
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("some known words\n" * 900 + "other words here\n" * 100)
    data = ("--data.corpus", f"file:{text}", "--data.vocabulary", "words")
    assert inn("train", "demo", "--run", run, *data, *small).code == 0
    facts = json.loads(inn("eval", run, "--json").out)
    assert facts["bpb"] is facts["bpc"] is facts["text"] is None
    assert facts["ppl"] == pytest.approx(facts["perplexity"])
    assert "bits per byte" not in inn("eval", run).out


def test_the_declared_vocabulary_must_be_that_of_the_data(refused, small, corpus, tmp_path):
    run = tmp_path / "run"
    sentence = refused("train", "demo", "--run", run, "--data.corpus", f"file:{corpus}", "--model.vocab", 5, *small)
    assert sentence.startswith("model.vocab is 5, but corpus")
    assert not run.exists()


def test_a_run_whose_text_has_changed_is_not_scored_on_it(inn, refused, small, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc " * 2000)
    run = tmp_path / "run"
    assert inn("train", "demo", "--run", run, "--data.corpus", f"file:{text}", *small).code == 0
    text.write_text("xyz " * 2000)
    assert "is not the one" in refused("eval", run)
    assert inn("generate", run, "--tokens", 3).code == 0


@pytest.mark.slow
def test_the_demo_ends_by_saying_what_was_learned(inn, small, tmp_path):
    run = tmp_path / "demo"
    result = inn("demo", "--run", run, *small)
    assert result.code == 0, result
    for part in ("unigram", "bigram", "xz", "this inn", "What was learned", "What to try next", "The "):
        assert part in result.out
    assert (run / "samples.txt").read_text().count("--- step") >= 3
