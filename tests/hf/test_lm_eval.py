"""lm-evaluation-harness and `inn eval --window` say the same of an exported run, on whatever text and window."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is not installed; pip install lm_eval")

import torch
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import inn
import inn.hf.lm_eval
from inn.cli.main import main
from inn.models.generate import start_symbol

TASKS = inn.hf.lm_eval.__path__[0]
TEXT = "The naïve graph of neurons 🐕 listens,\nand every neuron speaks \\ when it has something to say…\n" * 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache):
    """`trained(vocabulary)`: a run on `TEXT`, and the folder it was exported to."""
    folder = tmp_path_factory.mktemp("harness")
    (folder / "text.txt").write_text(TEXT, "utf-8")
    made = {}

    def make(vocabulary: str):
        if vocabulary not in made:
            run, out = str(folder / f"run-{vocabulary}"), str(folder / f"out-{vocabulary}")
            small = "--model.neurons 2 --model.width 8 --model.rounds 1 --model.recall.slots 256 --data.window 32"
            data = ["--data.corpus", f"file:{folder / 'text.txt'}", "--data.vocabulary", vocabulary]
            assert main(["train", "demo", "--run", run, *small.split(), *data, "--train.symbols", "4096"]) == 0
            assert main(["export", run, out]) == 0
            made[vocabulary] = run, out, f"file:{folder / 'text.txt'}"
        return made[vocabulary]

    return make


def harness(folder: str, corpus: str, part: str, window: int, start: int, batch: int) -> float:
    model = HFLM(pretrained=folder, device="cpu", max_length=window, prefix_token_id=start, batch_size=batch)
    manager = TaskManager(include_path=TASKS, include_defaults=False, metadata={"corpus": corpus, "part": part})
    results = simple_evaluate(model=model, tasks=["inn_corpus"], task_manager=manager, bootstrap_iters=0)
    return results["results"]["inn_corpus"]["bits_per_byte,none"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "vocabulary, part, window",
    [("bytes", "test", 64), ("characters", "valid", 50), ("characters", "test", 100_000), ("bpe", "test", 7)],
)
def test_bits_per_byte_are_those_of_inn_eval(trained, capsys, vocabulary, part, window):
    run, folder, corpus = trained(vocabulary)
    capsys.readouterr()
    assert main(["eval", run, "--split", part, "--window", str(window), "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    theirs = harness(folder, corpus, part, window, ours["start_symbol"], batch=3)
    assert ours["bpb"] == pytest.approx(theirs, abs=1e-6)
    assert main(["eval", run, "--split", part, "--json"]) == 0
    carried = json.loads(capsys.readouterr().out)
    assert carried["window"] is carried["start_symbol"] is None
    if window < 100:
        assert abs(carried["bpb"] - theirs) > 1e-3  # the state carried is another question


@pytest.mark.parametrize("vocabulary", ["characters", "bytes"])
def test_a_folder_is_evaluated_without_a_word_about_tokens(trained, vocabulary):
    """What follows nothing is predicted from the start symbol; greedy writing is that of `inn`, up to what ends it."""
    _, folder, _ = trained(vocabulary)
    ours, model = inn.load(folder), HFLM(pretrained=folder, device="cpu", batch_size=2)

    def ask(kind, arguments):
        return [Instance(request_type=kind, doc={}, arguments=a, idx=i) for i, a in enumerate(arguments)]

    asked = [("", "The gr"), ("The graph", " of"), ("", "every neuron")]
    for (context, text), (nats, _) in zip(asked, model.loglikelihood(ask("loglikelihood", asked)), strict=True):
        before = ours.vocabulary.encode(context).tolist() or [start_symbol(ours.vocabulary)]
        symbols = torch.tensor([before + ours.vocabulary.encode(text).tolist()])
        said = ours(symbols[:, :-1])[0].detach().log_softmax(-1).gather(2, symbols[:, 1:, None])[0, len(before) - 1 :]
        assert nats == pytest.approx(float(said.sum()), abs=1e-4)
    options = {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 12}
    prompts = ["The graph", "every"]
    written = model.generate_until(ask("generate_until", [(prompt, options) for prompt in prompts]))
    for prompt, text in zip(prompts, written, strict=True):
        assert "".join(ours.generate(prompt, 12, top_k=1, fresh=True)).split("\n\n")[0] == text


def test_the_tasks_by_name():
    manager = TaskManager(include_path=TASKS, include_defaults=False)
    answers = {"inn_answers", "inn_answers_sampled"}
    assert set(manager.all_tasks) == {"inn_text8", "inn_enwik8", "inn_corpus", *answers}


def test_a_part_is_one_document(tmp_path, cache):
    from inn.hf.lm_eval.corpora import part_of

    (tmp_path / "text.txt").write_text(TEXT, "utf-8")
    (document,) = part_of(f"file:{tmp_path / 'text.txt'}", "test", version=1.0)["test"]
    assert TEXT.endswith(document["text"])
    (document,) = part_of(f"file:{tmp_path / 'text.txt'}", "train", characters=9)["test"]
    assert document["text"] == TEXT[:9]
