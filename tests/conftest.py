"""What holds for all tests."""

from __future__ import annotations

import functools
import gc
import os
import signal
from importlib.resources import files
from pathlib import Path

import docstring_parser
import pytest

from inn_benchmarks.page import browser
from inn_benchmarks.rows import Skipped

# A shell that starts the tests in the background has interrupts ignored, for them and for all that they start; some
# tests are about interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The command line is built more than a thousand times in these tests; half of that is reading the same docstrings.
docstring_parser.parse_from_object = functools.cache(docstring_parser.parse_from_object)


def pytest_collection_finish():
    """Garbage is looked for less often, and not among what was imported and collected, which stays anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    """A folder with `model`, a small Llama of random weights that reads bytes, and `text`, something for it to read."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("decoder")
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    (folder / "text").write_text("the graph of neurons hears what the others say; " * 60)
    return folder


@pytest.fixture(scope="session")
def studied(tmp_path_factory) -> Path:
    """A folder to run studies in at scale smoke: what one test has trained others find, in other processes too."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    (place / "studies").mkdir(exist_ok=True)
    return place / "studies"


@pytest.fixture(scope="module")
def chromium():
    """A browser; tests that ask for it are skipped where there is none."""
    try:
        with browser() as one:
            yield one
    except Skipped as reason:
        pytest.skip(str(reason))


AUDIT = (
    "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
)
"""What axe-core looks for: WCAG 2.2 up to level AA, and good practice."""


@pytest.fixture
def audit(chromium):
    """`audit(addresses, ready, width, scheme)`: what axe finds serious or critical on pages, a line for each."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed; it comes with [dev]")
    script = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")

    def run(addresses, ready, width, scheme, act=lambda tab: None):
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab = context.new_page()
        tab.goto(addresses[0])
        tab.wait_for_selector(ready, state="attached")
        act(tab)
        found = []
        for address in addresses:
            tab.goto(address)
            tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            tab.evaluate(script)
            for fault in tab.evaluate(f"axe.run(document, {AUDIT})")["violations"]:
                if fault["impact"] in ("serious", "critical"):
                    places = [node["html"][:120] for node in fault["nodes"][:3]]
                    found.append(f"{address.rpartition('/')[2]}: {fault['id']}, {fault['help']}: {places}")
        context.close()
        return found

    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory, cache) -> Path:
    """A finished run with something to recall."""
    from inn.cli.main import main

    path = tmp_path_factory.mktemp("small") / "run"
    tiny = "--model.neurons 2 --model.width 8 --model.rounds 1 --model.recall.slots 256 --data.window 32"
    assert main(["train", "demo", "--run", str(path), *tiny.split(), "--train.symbols", "1024"]) == 0
    return path
