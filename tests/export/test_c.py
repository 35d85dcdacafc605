"""A model in C against the model: compiled by the compilers of this machine, without a warning, and run."""

import ctypes
import functools
import itertools
import shutil
import subprocess

import numpy as np
import pytest
import torch

import inn
from inn.config.assemble import stored_model
from inn.config.exports import COptions
from inn.data.vocabulary import Bytes, Characters
from inn.export.c.source import source_of, template
from inn.export.c.write import C, texts_of
from inn.export.trace import program_of
from inn.models.build import build_model
from inn.nn.state import State
from inn.registry import INNERS, MEMORIES, ROUTERS
from inn.system.errors import InputError

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
STRICT = "-std=c99 -Wall -Wextra -pedantic -Wconversion -Werror".split()
SANITIZED = "-g -fsanitize=address,undefined -fno-sanitize-recover=all".split()
SMALL = {"vocab": 27, "neurons": 3, "width": 12, "rounds": 2}
LAST = {"kind": "last", "slots": 64}
COUNTS = {
    "kind": "counts",
    "slots": 32,
    "followers": 6,
    "letters": list(range(1, 27)),
    "contexts": [1, 3, "word", {"kind": "word", "words": 1}, {"kind": "last", "skip": 1, "length": 2}, "column"],
}
RECALLS = ["none", "last", "counts"]
pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler (gcc or clang) on this machine")


def small(**fields):
    torch.manual_seed(0)
    model = inn.INN(**{**SMALL, **fields}).eval()
    with torch.no_grad():  # what begins with zeros says something
        for p in model.parameters():
            if not p.any():
                p.normal_(0, 0.1)
    return model


@functools.cache
def known(recall):
    """One of three models, and its program."""
    model = small(recall={"none": "none", "last": LAST, "counts": COUNTS}[recall])
    return model, program_of(model)


class Compiled:
    """A model in C as a library in this process."""

    def __init__(self, model, folder, int8=False, flags=("-O1",), cc=None):
        self.folder = folder
        write(model, folder, int8)
        subprocess.run(
            [cc or COMPILERS[0], *STRICT, *flags, "-shared", "-fPIC", "-o", "c.so", "model.c", "-lm"],
            cwd=folder,
            check=True,
        )
        self.c = ctypes.CDLL(str(folder / "c.so"))
        for name in ("model_open", "model_start"):
            getattr(self.c, name).restype = ctypes.c_void_p
        for name in ("model_save", "model_state_bytes", "model_weight_bytes"):
            getattr(self.c, name).restype = ctypes.c_size_t
        self.m = self.open(folder / "model.bin")
        self.s = self.start()
        self.out = np.zeros(model.config.vocab, dtype=np.float32)

    def open(self, path):
        return ctypes.c_void_p(self.c.model_open(str(path).encode()))

    def start(self):
        return ctypes.c_void_p(self.c.model_start(self.m))

    def step(self, symbol):
        assert self.c.model_step(self.m, self.s, int(symbol), self.out.ctypes.data_as(ctypes.c_void_p)) == 0
        return torch.from_numpy(self.out.copy())

    def save(self):
        size = self.c.model_save(self.m, self.s, None, ctypes.c_size_t(0))
        saved = ctypes.create_string_buffer(size)
        assert self.c.model_save(self.m, self.s, saved, ctypes.c_size_t(size)) == size
        assert self.c.model_save(self.m, self.s, saved, ctypes.c_size_t(size - 4)) == 0
        return saved.raw

    def restore(self, saved):
        return self.c.model_restore(self.m, self.s, saved, ctypes.c_size_t(len(saved)))


def write(model, folder, int8=False):
    program = next((p for m, p in map(known, RECALLS) if m is model), None) or program_of(model)
    source = source_of(program, "a test", texts_of(model), int8)
    (folder / "model.h").write_text(source.header)
    (folder / "model.c").write_text(source.code)
    (folder / "model.bin").write_bytes(source.weights)
    (folder / "main.c").write_text(template("main.c"))


def text(steps, vocab=27):
    """Symbols with pieces that come again, so that recall finds something."""
    generator = torch.Generator().manual_seed(1)
    pieces = torch.randint(vocab, (5, 11), generator=generator)
    return pieces[torch.randint(5, (steps // 11 + 1,), generator=generator)].flatten()[:steps]


@torch.no_grad()
def apart(model, compiled, steps):
    """How far the logits are from the model's, at most, over a carried state."""
    state, most = model.initial_state(1), 0.0
    for symbol in text(steps, model.config.vocab):
        logits, state = model.step(symbol[None], state)
        most = max(most, (logits[0] - compiled.step(symbol)).abs().max().item())
    return most


@pytest.mark.parametrize(
    "recall", [pytest.param(name, marks=[] if name == "counts" else pytest.mark.slow) for name in RECALLS]
)
def test_steps_agree(recall, tmp_path):
    model, _ = known(recall)
    for cc in COMPILERS if recall == "counts" else COMPILERS[:1]:
        (tmp_path / cc).mkdir()
        assert apart(model, Compiled(model, tmp_path / cc, cc=cc), 60) < 1e-5


@functools.cache
def kinds():
    """Models that together have every kind; what does not meet in a step stands in one, as each costs a compilation."""
    memories, inners = [*MEMORIES], itertools.cycle(INNERS)
    readouts = itertools.cycle(("concat", "mean", "attention", "parts"))
    mixed = {
        f"{first} {second} {router} {inner} {readout}": {
            "population": [{"neurons": 2, "memory": first}, {"neurons": 1, "memory": second}],
            "router": router,
            "inner": inner,
            "readout": readout,
        }
        for first, second, router, inner, readout in zip(
            memories[::2], itertools.cycle(memories[1::2]), itertools.cycle(ROUTERS), inners, readouts
        )
    }
    return {
        **mixed,
        "attending": {"memory": "gru", "memory_options": {"attend": 3}},
        "ring dendrites": {"topology": "ring", "neurons": 5},
        "ring mixture": {"router": "mixture", "topology": "ring", "neurons": 5},
        "chain each": {"topology": "chain", "readout": "each", "neurons": 2},
        "gate soft": {"gate": "soft", "router": "attention", "neurons": 5, "topology": "ring"},
        **{
            f"gate {kind}": {"gate": kind, "router": "attention", "neurons": 4}
            for kind in ("active", "experts", "address")
        },
        "adaptive": {"head": "adaptive", "tied": False, "vocab": 60, "cutoffs": [20, 40]},
        "paper": {"preset": "paper"},
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_agrees(kind, tmp_path):
    model = small(**{"rounds": 1, "recall": "none", **kinds()[kind]})
    assert apart(model, Compiled(model, tmp_path), 12) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("recall", RECALLS)
def test_ten_thousand_symbols_agree(recall, tmp_path):
    model, _ = known(recall)
    assert apart(model, Compiled(model, tmp_path), 10_000) < 1e-4


def test_a_saved_state_goes_on_and_a_damaged_one_is_refused(tmp_path):
    compiled = Compiled(known("counts")[0], tmp_path)
    symbols = text(80)
    for symbol in symbols[:50]:
        compiled.step(symbol)
    saved = compiled.save()
    expected = [compiled.step(symbol) for symbol in symbols[50:]]
    assert compiled.restore(saved) == 0
    assert all(torch.equal(compiled.step(symbol), y) for symbol, y in zip(symbols[50:], expected))
    compiled.c.model_begin(compiled.m, compiled.s)
    fresh = compiled.step(3)
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(saved)
        for place in generator.integers(len(damaged), size=3):
            damaged[place] = generator.integers(256)
        compiled.restore(bytes(damaged[: generator.integers(len(damaged))] if generator.random() < 0.5 else damaged))
        compiled.step(3)  # whatever it says: within its arrays
    assert compiled.restore(saved[:-4]) == -1
    assert torch.equal(compiled.step(3), fresh)


def test_what_a_model_has_recalled_goes_along(tmp_path):
    model, _ = known("counts")
    compiled, symbols = Compiled(model, tmp_path), text(300)
    read = model.after_reading(symbols)
    model.experience = State(dict(reversed([*read.items()])))  # the order is of no account
    try:
        C(COptions()).write(model, tmp_path, tmp_path)
    finally:
        experience, model.experience = model.experience, None
    assert compiled.restore((tmp_path / "state.bin").read_bytes()) == 0
    with torch.no_grad():
        logits, _ = model.step(symbols[:1], experience)
    assert (compiled.step(symbols[0]) - logits[0]).abs().max() < 1e-5
    assert compiled.restore((tmp_path / "state.bin").read_bytes()[:-8]) == -1


def test_files_of_other_models_and_damaged_ones_are_refused(tmp_path):
    compiled = Compiled(known("none")[0], tmp_path)
    weights = (tmp_path / "model.bin").read_bytes()
    for damaged in (b"", weights[:-1], weights + b"0", weights[:100] + b"?" + weights[101:], b"?" + weights[1:]):
        (tmp_path / "damaged.bin").write_bytes(damaged)
        assert not compiled.open(tmp_path / "damaged.bin").value
    for symbol in (-1, 27, 2**31 - 1):
        assert compiled.c.model_step(compiled.m, compiled.s, symbol, None) == -1


def test_eight_bits_are_near(tmp_path):
    model, _ = known("counts")
    compiled = Compiled(model, tmp_path, int8=True)
    assert 1e-7 < apart(model, compiled, 100) < 0.1
    other = tmp_path / "float"
    other.mkdir()
    assert compiled.c.model_weight_bytes() < 0.9 * Compiled(model, other).c.model_weight_bytes()


@pytest.mark.parametrize(
    "kind", ["characters", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("numbers", "bytes"))]
)
def test_the_program_scores_and_generates(kind, tmp_path):
    vocabulary = {"characters": Characters("abcdefghijklmnopqrstuvwx é\n"), "bytes": Bytes(), "numbers": None}[kind]
    model = small(recall=LAST, vocab=256) if kind == "bytes" else known("last")[0]
    model.vocabulary = vocabulary
    sources = ["-DMODEL_IMPLEMENTATION", "main.c"] if kind == "numbers" else ["main.c", "model.c"]
    C(COptions(single=kind == "numbers")).write(model, tmp_path, tmp_path)
    cc = COMPILERS[-1]
    subprocess.run([cc, *STRICT, *SANITIZED, "-o", "model", *sources, "-lm"], cwd=tmp_path, check=True)
    read = "abé cabé ba\n" * 3 if vocabulary else "0 1 2 3 4 5 " * 4
    symbols = vocabulary.encode(read).tolist() if vocabulary else [int(s) for s in read.split()]

    def run(*args):
        return subprocess.run(["./model", *args], cwd=tmp_path, input=read.encode(), capture_output=True, timeout=60)

    found = run("score")
    assert found.returncode == 0, found.stderr
    with torch.no_grad():
        logits, _ = model(torch.tensor([symbols]))
    bits = torch.nn.functional.cross_entropy(logits[0, :-1], torch.tensor(symbols[1:])).item() / np.log(2)
    assert float(found.stdout.split()[0]) == pytest.approx(bits, abs=1e-4)
    written = run("generate", "-n", "20", "-s", "1")
    assert written.returncode == 0
    assert written.stdout == run("generate", "-n", "20", "-s", "1").stdout
    assert len(vocabulary.encode(written.stdout, unknown="skip") if vocabulary else written.stdout.split()) >= 20
    assert run("score", "-w", "main.c").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru", "mamba-stack", "mamba-stack-transposed"])
def test_rivals_agree(kind, tmp_path):
    torch.manual_seed(0)
    model = build_model(stored_model({"vocab": 27, "width": 12, "layers": 2, "kind": kind})).eval()
    assert apart(model, Compiled(model, tmp_path), 30) < 1e-5


@pytest.mark.parametrize(
    "kind, fields, says",
    [("ngram", {"order": 2}, "cannot be traced"), ("transformer", {"width": 8, "layers": 1, "heads": 2}, "grows")],
)
def test_what_c_has_no_form_of_is_refused(kind, fields, says, tmp_path):
    model = build_model(stored_model({"vocab": 5, "kind": kind, **fields}))
    with pytest.raises(InputError, match=f"{type(model).__name__}.*{says}"):
        C(COptions()).write(model, tmp_path, tmp_path)


def test_an_operation_without_a_form_is_named(tmp_path):
    class Own(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    model = small(recall="none")
    model.norm = torch.nn.Sequential(model.norm, Own())
    with pytest.raises(InputError, match=r"norm, 1 of this INN takes the operation 'special_bessel_j0'"):
        C(COptions()).write(model, tmp_path, tmp_path)
