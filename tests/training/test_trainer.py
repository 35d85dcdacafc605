from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from inn.config.run import RunConfig
from inn.data.prepare import prepare
from inn.inference.evaluate import evaluate
from inn.inference.held_out import evaluate_run
from inn.models.sequence import SequenceModel
from inn.nn.state import State
from inn.runs import checkpoint as checkpoints
from inn.runs.directory import Run
from inn.runs.load import load
from inn.system.errors import InputError
from inn.training import events, trainer, validation
from inn.training.optim import build_schedule
from inn.training.trainer import fit

KINDS = ["inn", "lstm", "transformer", "mamba-stack"]
CLOCKS = ("time", "symbols_per_s")


def metrics(run) -> list[dict]:
    """The lines of metrics.jsonl, without what a clock decides."""
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in Run(run).metrics()]


def final(run) -> dict[str, bytes]:
    """The bytes of all tensors of a finished run's last checkpoint."""
    folder = Path(run) / "checkpoints"
    path = folder / checkpoints.name_of(checkpoints.steps(folder)[-1])
    return {file.name: file.read_bytes() for file in path.glob("*.safetensors")}


class Stop:
    """A report that ends the run by a signal when an event of a kind arrives at a step."""

    def __init__(self, step: int, kind: type = events.Progress):
        self.step, self.kind = step, kind

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, self.kind) and event.step == self.step:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("kind", [*KINDS, "ngram"])
def test_a_run_from_start_to_end(tmp_path, tiny, kind):
    told: list[events.Event] = []
    config = tiny(kind, sample_every=6)
    summary = fit(config, tmp_path / "run", report=told.append)
    run = Run(tmp_path / "run")
    assert summary == run.summary()
    assert summary["status"] == "finished"
    experience = ["experience.safetensors"] * (kind == "inn")  # of what recalls
    assert sorted(p.name for p in run.path.iterdir() if p.name != "tensorboard") == [
        "checkpoints", "config.yaml", *experience, "metrics.jsonl", "samples.txt", "summary.json", "vocabulary.json",
    ]  # fmt: skip
    assert isinstance(told[0], events.Started)
    assert isinstance(told[-1], events.Finished)
    assert told[-1].summary == summary
    steps = [e.step for e in told if isinstance(e, events.Progress)]
    assert [e.step for e in told if isinstance(e, events.Saved)][-1] == summary["step"]
    if kind == "ngram":
        assert steps == []
        assert summary["validation"]["bits"] == pytest.approx(summary["floors"]["bigram"], rel=1e-3)
    else:
        assert steps == [2, 4, 6, 8, 10, 12]
        assert [e.step for e in told if isinstance(e, events.Validated)] == [4, 8, 12]
        assert [e.step for e in told if isinstance(e, events.Sampled)] == [6, 12]
        assert summary["symbols"] == config.train.symbols == 4 * 16 * 11 + 30
        assert summary["steps"] == 12
        assert len(run.summary()["config"]["model"]) > 3  # type: ignore[index]
    assert run.config().model.vocab == prepare(config.data).vocabulary.size


def test_the_summary_says_where_it_comes_from_and_nothing_about_this_machine(tmp_path, tiny, text_file):
    summary = fit(tiny(), tmp_path / "run")
    assert summary["floors"].keys() == {"uniform", "unigram", "bigram", "trigram"}
    for key in ("parameters", "flops", "seconds", "symbols_per_s", "memory_bytes", "hardware", "versions", "commit"):
        assert key in summary
    assert summary["data"]["sha256"] == prepare(tiny().data).sha256
    assert summary["data"]["name"] == summary["config"]["data"]["corpus"] == "file:small.txt"
    text = json.dumps(summary) + (tmp_path / "run" / "metrics.jsonl").read_text()
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text
    assert str(text_file.parent) not in text
    assert not [p for p in (tmp_path / "run").rglob("*") if socket.gethostname() in p.name]


def test_training_learns_and_the_best_checkpoint_is_what_loads(tmp_path, tiny):
    config = tiny(
        "lstm", symbols=4 * 16 * 120, lr=2e-2, eval_every=30, log_every=10, checkpoint_every=50, eval_symbols=0
    )
    summary = fit(config, tmp_path / "run")
    assert summary["validation"]["bits"] < summary["floors"]["unigram"]
    valid = prepare(config.data).valid
    model = load(tmp_path / "run")
    assert not model.training
    assert model.vocabulary == prepare(config.data).vocabulary
    assert evaluate(model, valid).bits == pytest.approx(summary["best"]["bits"], abs=1e-4)
    assert summary["validation"]["count"] == len(valid) - 1


def test_a_checkpoint_can_be_loaded_by_itself(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "step-00000012"
    model = load(path)
    stored = checkpoints.load(path).tensors["model"]
    assert all(torch.equal(model.state_dict()[name], t) for name, t in stored.items())


def test_load_names_what_is_wrong(tmp_path, tiny):
    with pytest.raises(InputError, match="is not a run"):
        load(tmp_path)
    fit(tiny("lstm"), tmp_path / "run")
    best = checkpoints.best(tmp_path / "run" / "checkpoints")
    assert best is not None
    (best / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=rf"{best.name}/model\.safetensors.*damaged"):
        load(tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("*"):
        path.rename(tmp_path / path.name)
    with pytest.raises(InputError, match="no checkpoint yet"):
        load(tmp_path / "run")


@pytest.mark.parametrize(
    "kind, accumulate, dtype",  # every kind, and the graph in all ways
    [
        ("inn", 1, "float32"), ("inn", 2, "float32"), ("inn", 1, "bfloat16"), ("lstm", 2, "float32"),
        ("transformer", 1, "bfloat16"), ("mamba-stack", 1, "float32"),
    ],
)  # fmt: skip
def test_a_stopped_and_resumed_run_is_bit_for_bit_the_one_that_was_not(tmp_path, tiny, kind, accumulate, dtype):
    config = tiny(kind, accumulate=accumulate, dtype=dtype)
    whole = fit(config, tmp_path / "whole")
    first = fit(config, tmp_path / "run", report=Stop(4))  # at a log line, before that step's validation
    assert (first["status"], first["step"]) == ("stopped", 4)
    torch.rand(17)  # the random numbers of the next sitting are the run's own
    second = fit(None, tmp_path / "run", resume=True, report=Stop(10))
    assert (second["status"], second["step"]) == ("stopped", 10)
    third = fit(config, tmp_path / "run", resume=True)
    assert third["status"] == "finished"
    assert final(tmp_path / "run") == final(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    for key in ("validation", "best", "best_checkpoint", "symbols"):
        assert third[key] == whole[key]
    # the clock goes on too (all of it but the writing of the checkpoint that a sitting ended with)
    assert third["training_seconds"] > second["training_seconds"] > first["training_seconds"]
    assert third["seconds"] > third["training_seconds"]


def test_resuming_holds_for_attention_that_drops_weights(tmp_path, tiny):
    config = tiny("inn", model={"router": "attention", "recall": [], "routing_dropout": 0.2})
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "run", report=Stop(4))
    fit(None, tmp_path / "run", resume=True)
    assert final(tmp_path / "run") == final(tmp_path / "whole")


def test_what_a_stream_recalls_is_in_the_checkpoint(tmp_path, tiny):
    fit(tiny("inn"), tmp_path / "run", report=Stop(4))
    found, _ = checkpoints.load_latest(tmp_path / "run" / "checkpoints")
    table = found.tensors["state"]["v1/-1/table"]
    assert table.dtype == torch.int32
    assert table.shape == (4, 2, 4, 64)  # streams, neurons, lengths of each, slots
    assert (table >= 0).any()


WAYS = {
    "narrow": {"embedding_width": 3, "tied": True},
    "adaptive": {"head": "adaptive", "cutoffs": [6], "tied": False},
    "sub-words": {},
}


@pytest.mark.parametrize(
    "kind, way",
    [*(("inn", way) for way in WAYS), ("lstm", "narrow"), ("transformer", "adaptive"), ("mamba-stack", "sub-words")],
)
def test_resuming_holds_for_every_way_in_and_out(tmp_path, tiny, kind, way):
    data = {"vocabulary": "bpe", "units": 270} if way == "sub-words" else {"vocabulary": "words"}
    config = tiny(kind, model=WAYS[way], data=data)
    fit(config, tmp_path / "whole")
    assert fit(config, tmp_path / "run", report=Stop(6))["status"] == "stopped"
    fit(None, tmp_path / "run", resume=True)
    assert final(tmp_path / "run") == final(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert load(tmp_path / "run").num_parameters == run_parameters(tmp_path / "whole")


def run_parameters(run: Path) -> int:
    summary = Run(run).summary()
    assert summary is not None
    return summary["parameters"]


@pytest.mark.parametrize("schedule, order", [("onecycle", "random"), ("wsd", "contiguous")])
def test_resuming_holds_for_every_schedule_and_order_and_over_the_end_of_the_text(tmp_path, tiny, schedule, order):
    # 4 x 256 symbols a step from a text of some 16,000: the streams begin again at step 16
    data = {"order": order, "window": 256}
    config = tiny("lstm", schedule=schedule, data=data, symbols=20 * 4 * 256, sample_every=9, eval_every=7)
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "run", report=Stop(8, events.Progress))
    fit(None, tmp_path / "run", resume=True, report=Stop(16))
    fit(None, tmp_path / "run", resume=True)
    assert final(tmp_path / "run") == final(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert (tmp_path / "run" / "samples.txt").read_text() == (tmp_path / "whole" / "samples.txt").read_text()


def test_resuming_holds_where_a_model_is_told_what_it_recalls(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("inn.data.streams.SEGMENT", 1500)
    recall = {"kind": "counts", "contexts": [1, 3], "slots": 64}
    # 3 segments of 11 or 12 windows: stopped in the second, which what is before it has to be read for again
    data = {"order": "forward", "window": 32, "limit": 4600}
    config = tiny("inn", model={"recall": recall}, data=data, symbols=40 * 4 * 32, objective="nested")
    fit(config, tmp_path / "whole")
    assert fit(config, tmp_path / "run", report=Stop(16))["status"] == "stopped"
    fit(None, tmp_path / "run", resume=True)
    assert final(tmp_path / "run") == final(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    found = evaluate_run(tmp_path / "run", "test", primed=True)
    assert found["primed"]
    assert found["bits"] < evaluate_run(tmp_path / "run", "test")["bits"]  # it has read of these words before


def test_looking_at_the_model_leaves_no_trace(tmp_path, tiny):
    fit(tiny("inn", log_every=100, eval_every=100), tmp_path / "quiet")
    fit(tiny("inn", log_every=1, eval_every=1, sample_every=4), tmp_path / "busy")
    assert final(tmp_path / "quiet")["model.safetensors"] == final(tmp_path / "busy")["model.safetensors"]


def test_resuming_a_finished_run_changes_nothing_but_the_clock(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "run")
    before, lines = final(tmp_path / "run"), metrics(tmp_path / "run")
    assert fit(None, tmp_path / "run", resume=True)["status"] == "finished"
    assert final(tmp_path / "run") == before
    assert metrics(tmp_path / "run") == lines


def test_a_run_stopped_before_its_first_step_goes_on(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "whole")
    assert fit(tiny("lstm"), tmp_path / "run", report=Stop(0, events.Started))["step"] == 0
    fit(None, tmp_path / "run", resume=True)
    assert final(tmp_path / "run") == final(tmp_path / "whole")


def test_resume_keeps_the_settings_of_the_run(tmp_path, tiny):
    fit(tiny("lstm"), tmp_path / "run", report=Stop(4))
    with pytest.raises(InputError, match=r"started with train\.lr 0\.003, not 0\.1"):
        fit(tiny("lstm", lr=0.1), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"started with model\.kind lstm, not inn"):
        fit(tiny("inn"), tmp_path / "run", resume=True)


def test_resume_refuses_another_text(tmp_path, tiny):
    text = tmp_path / "mine.txt"
    text.write_text("the cat sat on the mat and was not very happy " * 100)
    config = tiny("lstm", data={"corpus": f"file:{text}"})
    fit(config, tmp_path / "run", report=Stop(4))
    text.write_text("the dog sat on the mat and was not very happy " * 100)
    with pytest.raises(InputError, match="sha256 differs"):
        fit(None, tmp_path / "run", resume=True)


def test_bad_input_is_refused_before_a_file_is_written(tmp_path, tiny):
    short = tmp_path / "short.txt"
    short.write_text("too short")
    for settings in (
        {"data": {"corpus": f"file:{short}"}},
        {"data": {"corpus": "file:/nowhere/at-all.txt"}},
        {"data": {"window": 10**6}},
        {"accumulate": 5},
        {"device": "cuda:99"},
        {"checkpoint_rounds": True},
    ):
        with pytest.raises(InputError):
            fit(tiny("lstm", **settings), tmp_path / "run")
        assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="is not a run"):
        fit(None, tmp_path / "run", resume=True)
    fit(tiny("ngram"), tmp_path / "run")
    with pytest.raises(InputError, match="exists already"):
        fit(tiny("lstm"), tmp_path / "run")


def test_the_best_checkpoint_and_the_last_two_are_kept(tmp_path, tiny, monkeypatch):
    bits = iter([3.0, 2.0, 2.5, 2.6, 2.4, 2.7])
    real = validation.validate

    def validate(*args):
        score = real(*args)
        return type(score)(next(bits) * score.count * 0.6931, score.count)

    monkeypatch.setattr(validation, "validate", validate)
    config = tiny("lstm", eval_every=2, checkpoint_every=4)
    summary = fit(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert checkpoints.steps(folder) == [4, 8, 12]
    assert summary["best"]["step"] == 4
    assert summary["best_checkpoint"] == "step-00000004"
    assert checkpoints.best(folder) == folder / "step-00000004"


class Bigram(SequenceModel):
    """A table: what it predicts depends on nothing but the last symbol."""

    def __init__(self, config):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab, config.vocab)

    def forward(self, tokens: Tensor, state=None, *, reset=None, mask=None):
        return self.table(tokens), self.initial_state(len(tokens))

    def initial_state(self, batch: int) -> State:
        return State({})

    def flops(self) -> dict[str, float]:
        return {}


def test_a_loss_that_settles_on_a_floor_is_called_out_once(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(trainer, "build_model", Bigram)
    told: list[events.Event] = []
    config = tiny("lstm", lr=0.3, symbols=300 * 512, data={"batch": 8, "window": 64}, log_every=5, eval_every=1000)
    summary = fit(config, tmp_path / "run", report=told.append)
    messages = [e.message for e in told if isinstance(e, events.Warned)]
    assert len(messages) == 1
    assert "bigram" in messages[0]
    assert summary["floors"]["trigram"] < summary["floors"]["bigram"] - 0.1
    assert [line["message"] for line in metrics(tmp_path / "run") if line["event"] == "warning"] == messages


def test_identical_neurons_are_called_out_once_and_a_single_one_not(tmp_path, tiny):
    def warnings(run, **model):
        told: list[events.Event] = []
        fit(tiny("inn", model=model), tmp_path / run, report=told.append)
        return [e.message for e in told if isinstance(e, events.Warned) and "neurons" in e.message]

    # The published model: shared weights, copied input, nothing to tell one neuron from another.
    same = {"neurons": 3, "input": "copy", "weights": "shared", "readout": "mean", "zero_start": False}
    assert len(warnings("same", **same, router="attention", recall=[])) == 1
    assert warnings("one", neurons=1) == []


def test_the_learning_rate_logged_is_the_schedules(tmp_path, tiny):
    config = tiny("lstm", schedule="onecycle", warmup=0.3)
    fit(config, tmp_path / "run")
    lr = build_schedule(config.train, 12)
    for line in metrics(tmp_path / "run"):
        if line["event"] == "train":
            assert line["lr"] == lr(line["step"] - 1)


def test_every_logged_loss_is_the_mean_since_the_last_line(tmp_path, tiny):
    fit(tiny("lstm", log_every=1), tmp_path / "fine")
    fit(tiny("lstm", log_every=4), tmp_path / "coarse")
    fine = {line["step"]: line["loss"] for line in metrics(tmp_path / "fine") if line["event"] == "train"}
    for line in metrics(tmp_path / "coarse"):
        if line["event"] == "train":
            weights = {step: 30 if step == 12 else 64 for step in range(line["step"] - 3, line["step"] + 1)}
            mean = sum(fine[s] * w for s, w in weights.items()) / sum(weights.values())
            assert line["loss"] == pytest.approx(mean, rel=1e-6)


def test_the_same_seed_gives_the_same_run_and_another_one_not(tmp_path, tiny):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(random.randrange(1, 50))
        fit(tiny("inn", seed=seed), tmp_path / name)
    assert final(tmp_path / "a") == final(tmp_path / "b")
    assert final(tmp_path / "a")["model.safetensors"] != final(tmp_path / "c")["model.safetensors"]


def test_recomputing_rounds_gives_the_same_run(tmp_path, tiny):
    for name, again in (("a", False), ("b", True)):
        fit(tiny("inn", checkpoint_rounds=again), tmp_path / name)
    assert final(tmp_path / "a")["model.safetensors"] == final(tmp_path / "b")["model.safetensors"]


def test_threads_and_signal_handlers_are_put_back(tmp_path, tiny):
    before, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    seen = []
    fit(tiny("lstm", threads=2, symbols=64), tmp_path / "run", report=lambda e: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
    assert signal.getsignal(signal.SIGTERM) is handler


def test_training_works_outside_the_main_thread(tmp_path, tiny):
    found = {}
    thread = threading.Thread(target=lambda: found.update(fit(tiny("lstm"), tmp_path / "run")))
    thread.start()
    thread.join()
    assert found["status"] == "finished"


def test_the_configuration_on_disk_repeats_the_run(tmp_path, tiny):
    fit(tiny("inn", data={"vocabulary": "bytes"}), tmp_path / "a")
    tree = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    fit(RunConfig.from_dict(tree), tmp_path / "b")
    assert final(tmp_path / "a") == final(tmp_path / "b")


def test_tensorboard_gets_the_curves_where_it_is_installed(tmp_path, tiny):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit(tiny("lstm"), tmp_path / "run", report=Stop(6))
    fit(None, tmp_path / "run", resume=True)
    board = loader.EventAccumulator(os.fspath(tmp_path / "run" / "tensorboard"))
    board.Reload()
    points = {e.step: e.value for e in board.Scalars("train/bits")}
    lines = {line["step"]: line["bits"] for line in metrics(tmp_path / "run") if line["event"] == "train"}
    assert points == pytest.approx(lines, rel=1e-6)


def test_training_does_without_tensorboard(tmp_path, tiny, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    fit(tiny("lstm"), tmp_path / "run")
    assert not (tmp_path / "run" / "tensorboard").exists()
