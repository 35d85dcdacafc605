"""Every row at toy size: it runs, and its number is what the row says it is."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inn.ops import selective_scan
from inn.ops.dispatch import Backend
from inn_benchmarks import (
    compiled,
    delta,
    gpu,
    growth,
    hf,
    look,
    loop,
    memory,
    peers,
    resting,
    scan,
    score,
    steps,
    stream,
)
from inn_benchmarks.measure import Times
from inn_benchmarks.rows import ROWS, Row, Skipped
from inn_benchmarks.steps import StepSize

PAPER = StepSize(1, 5, {"neurons": 3, "width": 8, "rounds": 2, "heads": 2, "dt_rank": 2})
STACK = StepSize(2, 6, {"width": 16, "layers": 2})
IDS = (
    "scan resting loop loop-lstm feedback feedback-mamba delta-scan delta-memory paper-step reference-step "
    "gemm-share peers-train separate-8 separate-32 memory step-flat peers-generate growth neighbours neighbours-4096 "
    "messages groups-1024 growth-n record look page page-paint page-frames play hf-generate left-pad install ddp-2 "
    "score score-memory c-step serve serve-wait serve-memory "
    "gpu-paper gpu-ops gpu-loop gpu-step gpu-generate gpu-compile gpu-memory"
)


def test_the_rows():
    assert " ".join(ROWS) == IDS
    limits = {name: (row.limit, row.better) for name, row in ROWS.items()}
    assert limits == {
        "scan": (20, "at least"),
        "resting": (2.5, "at least"),
        "neighbours": (10, "at least"),
        "neighbours-4096": (40, "at least"),
        "messages": (None, None),
        "groups-1024": (15, "at least"),
        "growth-n": (1.1, "at most"),
        "loop": (20, "at least"),
        "loop-lstm": (1.2, "at most"),
        "feedback": (10, "at least"),
        "feedback-mamba": (4, "at least"),
        "delta-scan": (10, "at least"),
        "delta-memory": (2, "at most"),
        "paper-step": (0.60, "at least"),
        "reference-step": (None, None),
        "gemm-share": (0.60, "at least"),
        "peers-train": (5, "at least"),
        "separate-8": (0.70, "at least"),
        "separate-32": (0.45, "at least"),
        "memory": (1.15, "at most"),
        "step-flat": (1.05, "at most"),
        "peers-generate": (5, "at least"),
        "growth": (1.05, "at most"),
        "record": (0.15, "at most"),
        "look": (60, "at most"),
        "page": (10, "at most"),
        "page-paint": (2, "at most"),
        "page-frames": (20, "at least"),
        "play": (100, "at most"),
        "hf-generate": (0.85, "at least"),
        "left-pad": (1e-5, "at most"),
        "install": (60, "at most"),
        "ddp-2": (0.9, "at least"),
        "score": (0.80, "at least"),
        "score-memory": (5, "at most"),
        "c-step": (2, "at least"),
        "serve": (4, "at least"),
        "serve-wait": (5, "at most"),
        "serve-memory": (20, "at most"),
        "gpu-paper": (200_000, "at least"),
        "gpu-ops": (None, None),
        "gpu-loop": (20, "at least"),
        "gpu-step": (None, None),
        "gpu-generate": (None, None),
        "gpu-compile": (None, None),
        "gpu-memory": (1.15, "at most"),
    }


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_a_function(name):
    module, _, function = ROWS[name].run.partition(":")
    assert callable(getattr(import_module(module), function))


def test_a_limit_has_two_sides():
    at_least, at_most, free = Row("", "x", "", 2, "at least"), Row("", "x", "", 2, "at most"), Row("", "x", "")
    assert [at_least.reached(r) for r in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [at_most.reached(r) for r in (1.9, 2.0, 2.1)] == [True, True, False]
    assert at_least.reached(float("nan")) is at_most.reached(float("nan")) is False
    assert free.reached(1.0) is None


def plain(measured):
    """The row's details go through JSON."""
    assert json.loads(json.dumps(asdict(measured)))["ratio"] == measured.ratio
    return measured


@pytest.fixture
def references(monkeypatch) -> list:
    """One entry for each scan that the reference ran."""
    ran, run = [], selective_scan.backends["reference"].run
    recording = Backend("reference", lambda *a, **k: ran.append(0) or run(*a, **k))
    monkeypatch.setitem(selective_scan.backends, "reference", recording)
    return ran


def test_scan(clock, references, toy):
    clock("scan", reference=6.0, scan=2.0)
    measured = plain(scan.scan(scan.ScanSize(2, 5, 1, 8, 4), toy))
    assert measured.ratio == 3.0
    assert len(references) == 1  # and the other ran on what the models run on
    assert measured.details["backend"] in ("cpu", "torch")
    assert measured.sizes == "B 2, T 5, 8 channels, state 4"


def test_loop(clock, toy):
    clock("loop", **{"neurons reference": 6.0, "neurons": 2.0, "population reference": 5.0})
    measured = plain(loop.loop(loop.LoopSize(2, 3, 2, 4), toy))
    assert measured.ratio == 3.0
    assert measured.details["ratios"] == {"neurons": 3.0, "population": 5.0}
    assert measured.sizes == "GRU, B 2, T 3, N 2 x D 4"


def test_loop_lstm(clock, toy):
    clock("loop", inn=3.0, torch=2.0)
    assert plain(loop.loop_lstm(loop.LoopSize(2, 3, 1, 4), toy)).ratio == 1.5


def test_feedback(clock, toy):
    clock("loop", steps=6.0, graph=2.0)
    measured = plain(loop.feedback(loop.LoopSize(2, 3, 2, 4, 2), toy))
    assert measured.ratio == 3.0
    assert measured.sizes == "GRU, B 2, T 3, N 2 x D 4, 2 rounds"
    assert plain(loop.feedback_mamba(loop.LoopSize(2, 3, 2, 4, 1), toy)).sizes == "Mamba, B 2, T 3, N 2 x D 4, 1 rounds"


def test_delta(clock, toy):
    size = delta.DeltaSize(2, 5, 2, 8, {"heads": 2})
    clock("delta", reference=6.0, rule=2.0)
    measured = plain(delta.delta_rule(size, toy))
    assert measured.ratio == 3.0
    assert measured.sizes == "B 2, T 5, 2 neurons of width 8: 2 heads of 16 x 8 each"
    clock("delta", delta=3.0, mamba=2.0)
    assert plain(delta.beside_mamba(size, toy)).ratio == 1.5


def test_paper_step(clock, toy):
    clock("steps", step=2.0, product=0.5)
    measured = plain(steps.paper_step(PAPER, toy))
    model = steps.paper(PAPER)
    rate = 2 * toy.product**3 / 0.5
    assert measured.ratio == pytest.approx(model.training_flops * 5 / rate / 2.0)
    assert measured.details["routing_dropout"] == 0.1
    assert measured.dtype == "float32"


def test_reference_step(clock, references, toy):
    clock("steps", reference=30.0, step=2.0)
    assert plain(steps.reference_step(PAPER, toy)).ratio == 15.0
    assert len(references) == PAPER.model["rounds"]


def test_gemm_share(clock, toy, monkeypatch):
    kinds = []
    product = steps.Product
    monkeypatch.setattr(steps, "Product", lambda dtype, side: kinds.append(dtype) or product(dtype, side))
    clock("steps", step=4.0, product=1.0, scan=0.5)
    measured = plain(steps.gemm_share(STACK, toy))
    model = steps.stack(**STACK.model)
    products = model.training_flops * 12 - 3 * 12 * model.flops()["memory.scan"]
    assert measured.ratio == pytest.approx((products / (2 * toy.product**3) + 2 * 0.5) / 4.0)
    assert measured.details["of_G"] == pytest.approx(model.training_flops * 12 / (2 * toy.product**3) / 4.0)
    assert measured.dtype == "bfloat16"
    assert kinds == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("row", [steps.separate_8, steps.separate_32])
def test_separate(row, clock, toy):
    """Of neurons that talk by attention and recall nothing: every part of the step is in its ratio."""
    size = StepSize(2, 4, {"neurons": 2, "width": 8, "rounds": 3})
    clock("steps", step=5.0, product=1.0, scan=0.5, stack=4.0)
    measured = plain(row(size, toy))
    model = steps.build_model(steps.model_config("inn", "distinct", vocab=steps.VOCAB, **size.model))
    assert f"{model.num_parameters:,} parameters" in measured.sizes
    parts = model.flops()
    matrices = parts["memory.matrices"] + parts["routing.matrices"] + parts["head"]
    assert measured.details["matrix_flops"] == pytest.approx(3 * 8 * matrices)
    assert measured.ratio == pytest.approx((3 * 8 * matrices / (2 * toy.product**3) + 3 * 0.5) / 5.0)
    assert measured.details["symbols_per_s"] == 8 / 5.0
    assert measured.details["stack_of_equal_parameters"]["symbols_per_s"] == 8 / 4.0


def test_the_separate_rows_are_the_published_sizes():
    for row, neurons, width in ((steps.separate_8, 8, 64), (steps.separate_32, 32, 32)):
        assert row.__defaults__[0].model == {"neurons": neurons, "width": width}
    published = steps.build_model(steps.model_config("inn", "distinct", vocab=steps.VOCAB, neurons=8, width=64))
    assert published.num_parameters == 1_600_027


@pytest.mark.parametrize("kind", ["mamba-stack", "lstm", "transformer"])
def test_equal_parameters(kind):
    model = steps.equal(kind, 1_000_000, 27, step=8)
    assert model.num_parameters == pytest.approx(1_000_000, rel=0.1)
    assert model.config.width % 8 == 0


def test_memory(monkeypatch, toy):
    given = []

    def call(target, sizes, *, threads):
        given.append((target, sizes["model"]["state"], threads))
        return {"bytes": {16: 1000, 64: 1200}[sizes["model"]["state"]] + len(given)}

    monkeypatch.setattr(memory, "call", call)
    measured = plain(memory.memory(STACK, rounds=3))
    assert measured.ratio == pytest.approx(1204 / 1003)
    assert [state for _, state, _ in given] == [16, 64, 16, 64, 16, 64]
    assert measured.details["bytes_per_symbol"]["state 16"] == 1003 / 12


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak of a process never goes back")
def test_peak_counts_what_a_step_adds():
    small, large = (memory.peak(batch, 64, {"width": 32, "layers": 1})["bytes"] for batch in (32, 256))
    assert large > max(small, 1_000_000)


def test_step_flat(clock, toy):
    size = stream.StreamSize(2, 9, 4, {"neurons": 2, "width": 8, "rounds": 1})
    clock("stream", near=1.0, far=1.25)
    measured = plain(stream.step_flat(size, toy))
    assert measured.ratio == 1.25
    assert measured.details["state_bytes"]["near"] == measured.details["state_bytes"]["far"] > 0


def test_record(clock, toy, monkeypatch):
    size = look.ScoredSize({"neurons": 2, "width": 8, "rounds": 1, "recall": []}, symbols=100, streams=2)
    taped, evaluate = [], look.evaluate

    def seen(model, text, **options):
        taped.append(None if model.graph.tape is None else model.graph.tape.channels)
        return evaluate(model, text, **options)

    monkeypatch.setattr(look, "evaluate", seen)
    clock("look", plain=2.0, recorded=2.25)
    assert plain(look.record_cost(size, toy)).ratio == 0.125
    assert set(taped) == {None, ("routing", "activity")}


def test_score(clock, toy):
    clock("score", eval=2.0, score=2.5)
    measured = plain(score.score_speed(score.PipeSize({"neurons": 2, "width": 8, "rounds": 1}, symbols=1500), toy))
    assert measured.ratio == 0.8
    bits = measured.details["bits"]
    assert bits["score"] == pytest.approx(bits["eval"], rel=1e-6)  # both read the same text


def test_score_memory(monkeypatch):
    held = {"ngram": [300_000_000, 301_000_000, 302_500_000], "inn": [1, 2]}
    monkeypatch.setattr(score, "call", lambda target, sizes, threads: {"bytes": held[sizes["kind"]]})
    assert plain(score.score_memory(2)).ratio == 2.5


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
@pytest.mark.slow
def test_resident_memory_is_read_as_the_pipe_goes_by():
    found = score.resident(2, "ngram")
    assert found["symbols"] == 1_999_999
    assert len(found["bytes"]) == 2
    assert min(found["bytes"]) > 1e7


def test_c_step(clock, toy):
    clock("compiled", inn=2.0, c=3.0)
    measured = plain(
        compiled.c_step(compiled.TextSize({"neurons": 2, "width": 8, "rounds": 1}, tokens=4, compiled=24), toy)
    )
    assert measured.ratio == 4.0
    assert measured.details["per_s"] == {"inn": 2.0, "c": 8.0, "int8": 24.0, "reading": 1.0}


@pytest.mark.loopback
def test_serve(clock, toy, monkeypatch):
    pytest.importorskip("inn.server.serving", reason="what [serve] brings is not installed", exc_type=ImportError)
    from inn_benchmarks import serve

    monkeypatch.setattr(serve, "MANY", 4)
    clock("serve", alone=8.0, engine=2.0)
    size = serve.ServeSize({"neurons": 2, "width": 8, "rounds": 1}, tokens=5)
    measured = plain(serve.serve_speed(size, toy))
    assert (measured.ratio, measured.details["same"]) == (4.0, 4)
    assert (
        plain(serve.serve_wait(size, rounds=1)).details["seconds"]["4"]["n"] > 4
    )  # one event may tell of several symbols
    memory = plain(serve.serve_memory(size, requests=100, batch=50))
    assert memory.details["counts"] == {"right": 98, "refused": 1, "cut": 1}


def test_look(tmp_path):
    text = tmp_path / "words.txt"
    text.write_text("the graph of neurons listens to each neuron " * 400)
    tiny = "--model.neurons 2 --model.width 8 --model.rounds 1 --data.window 32 --data.batch 4 --train.symbols 1024"
    size = look.LookSize("demo", ("--data.corpus", f"file:{text}", *tiny.split()))
    measured = plain(look.look_time(size))
    assert measured.ratio > 0
    assert measured.details["page_bytes"] > 10_000
    assert measured.sizes == "recipe demo: N 2, D 8, 1 rounds"


def test_step_flat_really_reads_to_where_it_says(toy):
    torch.manual_seed(0)
    model = steps.build_model(steps.model_config("inn", vocab=5, neurons=2, width=8, rounds=1)).eval()
    tokens = torch.randint(5, (1, 11))
    with torch.inference_mode():
        chunked, whole = stream.read(model, tokens, 4), model(tokens)[1]
    for key, value in whole.items():
        torch.testing.assert_close(chunked[key], value)


def test_growth(monkeypatch, tmp_path, toy):
    def in_turns(works, effort):
        return {name: Times((0.001 * int(name) ** 1.5,)) for name in works}

    monkeypatch.setattr(growth, "in_turns", in_turns)
    size = growth.GrowthSize((2, 4), (4, 64, 128), 0.1, {"width": 8, "rounds": 1, "heads": 2})
    measured = plain(growth.growth(size, toy, plot=str(tmp_path / "new" / "growth.png")))
    assert measured.ratio == pytest.approx(1.5)
    assert [p[0] for p in measured.details["points"]["T"]] == [4, 64, 128]


def test_growth_counts_slow_steps_only(monkeypatch, tmp_path, toy):
    seconds = {"2": 1.0, "4": 2.0, "8": 0.03, "64": 0.04, "128": 0.1, "256": 0.2, "512": 0.4}
    monkeypatch.setattr(growth, "in_turns", lambda works, effort: {n: Times((seconds[n],)) for n in works})
    size = growth.GrowthSize((2, 4), (8, 64, 128, 256, 512), 0.05, {"width": 8, "rounds": 1, "heads": 2})
    measured = growth.growth(size, toy, plot=str(tmp_path / "growth.png"))
    assert measured.ratio == pytest.approx(1.0)


def test_growth_measures_what_it_says(toy):
    size = growth.GrowthSize((2, 3), (4, 8), 0.0, {"width": 8, "rounds": 1, "heads": 2})
    measured = plain(growth.growth(size, toy, plot="/dev/null/growth.png"))  # no plot can be written there
    assert measured.details["plot"] is None
    assert all(seconds > 0 for points in measured.details["points"].values() for _, seconds in points)


def test_the_sweeps_of_growth():
    size = growth.GrowthSize()
    assert (size.neurons[0], size.neurons[-1], size.lengths[0], size.lengths[-1]) == (8, 256, 256, 65_536)


def rival(delay: float):
    """A peer that waits in every call."""

    class Slow(nn.Sequential):
        def forward(self, tokens):
            time.sleep(delay)
            return super().forward(tokens)

    def make(config, vocab):
        model = Slow(nn.Embedding(vocab, config.width), nn.Linear(config.width, vocab))
        return model, model

    return make


def test_peers_train(clock, toy):
    rivals = {
        "one": {"bad": rival(0.05), "good": rival(0.0)},
        "two": {"good": rival(0.0), "bad": rival(0.05)},
    }
    clock_names = {"inn": 2.0, "one, good": 30.0, "two, good": 20.0, "lstm": 1.0}
    real = peers.in_turns

    def in_turns(works, effort):
        if "inn" not in works:
            return real(works, effort)  # the choice of a setting
        assert list(works) == ["inn", "one, good", "two, good", "lstm", "transformer"]
        return {name: Times((clock_names.get(name, 1.0),)) for name in works}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "in_turns", in_turns)
        measured = plain(peers.train(peers.PeerSize(2, 6, STACK.model, (1, 4)), toy, rivals))
    assert measured.ratio == 10.0  # against the better one
    assert measured.details["fastest_peer"] == "two, good"
    assert measured.details["symbols_per_s"]["inn"] == 6.0


class Writer(nn.Module):
    """A peer that writes: `generate`, and a step that carries a cache."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def generate(self, first, attention_mask, max_new_tokens, do_sample):
        return torch.zeros(1, max_new_tokens + 1, dtype=torch.long)

    def forward(self, input_ids, cache_params, use_cache):
        return SimpleNamespace(logits=torch.zeros(1, 1, 256), cache_params=(cache_params or 0) + 1)


def test_peers_generate(clock, toy):
    clock("peers", **{"inn": 2.0, "generate": 30.0, "bare loop": 16.0})
    size = peers.GenerateSize(4, {"width": 16, "layers": 1})
    measured = plain(peers.generate(size, toy, lambda c, vocab: (Writer(), lambda t: t)))
    assert measured.ratio == 8.0  # against the faster way
    assert measured.details["peer"] == "transformers, bare loop"
    assert measured.details["symbols_per_s"]["inn"] == 2.0


def test_hf_generate(clock, toy):
    """The loop of transformers is taken off; what is left is compared."""
    pytest.importorskip("transformers")
    clock("hf", inn=4.0, generate=9.0, loop=1.0)
    measured = plain(hf.generate(hf.WriteSize(5, {"neurons": 2, "width": 8, "rounds": 1}), toy))
    assert measured.ratio == 0.5
    assert measured.details["seconds_per_symbol"]["model inside generate"] == pytest.approx(8 / 5)


def test_left_pad():
    pytest.importorskip("transformers")
    measured = plain(hf.left_pad(hf.PadSize((1, 3, 9), {"neurons": 2, "width": 8, "rounds": 1})))
    assert measured.ratio == max(measured.details["by_length"].values()) < 1e-5 < measured.details["largest_logit"]


def test_left_pad_sees_padding_that_is_read(monkeypatch):
    inn_hf = pytest.importorskip("inn.hf")
    forward = inn_hf.INNForCausalLM.forward
    monkeypatch.setattr(inn_hf.INNForCausalLM, "forward", lambda self, ids, attention_mask=None: forward(self, ids))
    assert hf.left_pad(hf.PadSize((1, 3, 9), {"neurons": 2, "width": 8, "rounds": 1})).ratio > 1e-3


@pytest.mark.parametrize("row", [hf.generate, hf.left_pad])
def test_without_transformers_its_rows_are_skipped(row, monkeypatch):
    for name in [n for n in sys.modules if n == "inn.hf" or n.startswith("inn.hf.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Skipped, match="inn-torch"):
        row()


def test_gpu_paper_is_skipped_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Skipped, match="no CUDA device"):
        gpu.gpu_paper()


def test_gpu_paper_takes_the_fastest_batch_that_fits(monkeypatch, toy):
    seconds = {2: 1.0, 4: 1.0, 8: 4.0}
    given = []

    def train_step(model, batch, length, **options):
        if batch > 8:
            raise torch.OutOfMemoryError
        given.append((batch, options["bf16"], model.config.identity, model.config.identity_std))
        return batch

    monkeypatch.setattr(gpu, "train_step", train_step)
    monkeypatch.setattr(gpu, "in_turns", lambda works, effort: {"step": Times((seconds[works["step"]],))})
    measured = plain(gpu.gpu_paper(gpu.GPUSize(10, (2, 4, 8, 16, 32), PAPER.model), toy, "cpu"))
    assert measured.ratio == 40.0
    assert given[-1] == (4, True, "embedding", 1.0)
    assert [b for b, *_ in given] == [2, 4, 8, 4]
    assert measured.details["routing_dropout"] == 0.1


def test_gpu_paper_runs(toy):
    assert plain(gpu.gpu_paper(gpu.GPUSize(4, (1, 2), PAPER.model), toy, "cpu")).ratio > 0


def test_resting_compares_a_quarter_at_work_with_all(toy):
    found = resting.resting(resting.RestingSize(4, 8, 2, 16), toy)
    assert found.ratio > 0
    assert 4 <= found.details["longest"] <= 16
