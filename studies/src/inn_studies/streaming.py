"""Compressing a decoder that stays in its files: time and memory, measured on one of random weights of any size."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any


def streamed(corpus: str, plan: str, keep: float, rows: int, length: int, **shape: int) -> dict[str, Any]:
    """Seconds and peak memory of `inn compress --stream`, in a process of its own with all cores.

    Args:
        corpus: its validation part is calibrated on, in bytes.
        plan, keep, rows, length: see `inn.compress.pipeline.run`.
        shape: fields of a `LlamaConfig`; the model has random weights in bfloat16, and is not kept.
    """
    from inn.system.device import good_threads
    from inn_benchmarks.run import call

    with tempfile.TemporaryDirectory() as folder:
        made = call("inn_studies.streaming:random_llama", {"folder": folder, "corpus": corpus, **shape}, threads=1)
        options = {"folder": folder, "plan": plan, "keep": keep, "rows": rows, "length": length}
        return {**made, **call("inn_studies.streaming:streaming", options, threads=good_threads())}


def random_llama(folder: str, corpus: str, **shape: int) -> dict[str, Any]:
    """Write a Llama of random weights in bfloat16 that reads bytes, and a text for it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from inn.compress.measure import bytes_of
    from inn.data.corpora import corpus_text

    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(f"{folder}/model")
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig.from_dict({**shape, "tie_word_embeddings": True}))
    model.save_pretrained(f"{folder}/model")
    Path(folder, "text").write_bytes(corpus_text(corpus).read("valid"))
    return {"parameters": sum(p.numel() for p in model.parameters()), "weights": bytes_of(model)}


def streaming(folder: str, plan: str, keep: float, rows: int, length: int) -> dict[str, Any]:
    """`streamed`, in the process that is measured."""
    import torch

    from inn.compress.pipeline import run
    from inn.system.provenance import peak_memory

    began, spent = time.perf_counter(), {"scoring": 0.0, "compressing": 0.0}
    last = began

    def note(what: str, done: int, of: int) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[what], last = spent[what] + now - last, now

    found = run(
        f"{folder}/model", f"{folder}/text", f"{folder}/smaller", plan, keep, rows=rows, length=length, windows=2,
        stream=True, report=note,
    )  # fmt: skip
    return {
        "seconds": time.perf_counter() - began,
        "core_seconds": time.process_time(),
        **{f"{what}_seconds": seconds for what, seconds in spent.items()},
        "kept": found["after"]["parameters"],
        "written": found["after"]["megabytes"],
        **peak_memory(torch.device("cpu")),
    }
