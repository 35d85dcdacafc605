"""Organs: cut, saved, loaded and grafted they are what they were, bit for bit; what does not fit is named."""

import copy
import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

import inn
from inn.data.vocabulary import Bytes, Characters
from inn.models.names import blocks_of
from inn.models.signal_graph import SignalGraph
from inn.surgery.graft import graft
from inn.surgery.neurons import keep
from inn.surgery.organ import Organ, axes_of, cut, places
from inn.system.errors import InputError
from inn.system.files import sha256_of

FIELDS = {
    "vocab": 9,
    "neurons": 5,
    "width": 8,
    "rounds": 2,
    "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4},
}
TOKENS = torch.arange(16).reshape(2, 8) ** 2 % 7
MODELS = [
    {}, {"readout": "mean"}, {"readout": "attention", "input": "copy"}, {"embedding_width": 4}, {"tied": False},
    {"router": {"kind": "attention", "heads": 2}}, {"router": "bus"}, {"router": "mixing"}, {"router": "mixture"},
    {"weights": "communal", "communal_states": 5}, {"router": "static", "topology": "ring"}, {"memory": "gru"},
    {"population": [{"neurons": 2}, {"neurons": 3, "memory": "gru"}]}, {"topology": "signatures"}, {"norm": "rms"},
    {"weights": "shared", "identity": "embedding", "router": "attention"}, {"inner": "kan", "gate": "soft"},
    {"recall": {"kind": "counts", "contexts": [1, 2, 3], "slots": 64}},
]  # fmt: skip


@pytest.fixture(autouse=True)
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def model(make=inn.INN, **fields):
    torch.manual_seed(0)
    made = make(**{**FIELDS, **fields}).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return made.eval()


def spoilt(whole, organ):
    """The model with other numbers where the organ has its own."""
    new = copy.deepcopy(whole)
    with torch.no_grad():
        if organ.what == "rounds":
            for r in organ.numbers:
                for p in getattr(new, "graph", new).rounds[r].parameters():
                    p.mul_(2)
            return new
        tensors = new.state_dict()
        for name, axes in axes_of(new).items():
            for axis, (of, size) in axes.items():
                there = [n for n in organ.numbers if n in of]
                tensors[name].index_fill_(axis, places(of, size, there), 0.3)
    return new


def through_a_file(organ, folder):
    return Organ.load(organ.save(folder / "my.organ"))


@pytest.mark.parametrize(
    "fields", [pytest.param(f, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, f in enumerate(MODELS)], ids=str
)
@torch.no_grad()
def test_an_organ_put_back_is_the_model_bit_for_bit(fields, tmp_path):
    whole = model(**fields)
    expected = whole(TOKENS)[0]
    for given in ({"rounds": [1]}, {"neurons": [1, 3]}):
        organ = through_a_file(cut(whole, **given), tmp_path)
        other = spoilt(whole, organ)
        assert not torch.equal(other(TOKENS)[0], expected)
        assert torch.equal(graft(other, organ)(TOKENS)[0], expected)
        assert torch.equal(graft(whole, organ)(TOKENS)[0], expected)
    neurons = through_a_file(cut(whole, neurons=[1, 3]), tmp_path)
    if fields.get("topology") != "ring":  # where others hear it again, whatever it was
        back = graft(keep(whole, neurons=[0, 2, 4]), neurons)
        assert back.graph.ids.tolist() == [0, 2, 4, 1, 3]
        torch.testing.assert_close(back(TOKENS)[0], expected, rtol=0, atol=1e-9)
        part = graft(keep(whole, neurons=[0, 4]), neurons)
        torch.testing.assert_close(part(TOKENS)[0], keep(whole, neurons=[0, 1, 3, 4])(TOKENS)[0], rtol=0, atol=1e-9)
    back = graft(keep(whole, rounds=[0]), cut(whole, rounds=[1]), at=1, insert=True)
    assert torch.equal(back(TOKENS)[0], expected)


@torch.no_grad()
def test_an_organ_in_another_place():
    whole = model(rounds=3)
    long = graft(whole, cut(whole, rounds=[0, 1]), at=1, insert=True)
    assert long.config.rounds == 5
    assert torch.equal(long.graph.round(2).memory.D, whole.graph.round(1).memory.D)
    assert torch.equal(keep(long, rounds=[0, 3, 4])(TOKENS)[0], whole(TOKENS)[0])
    large = graft(whole, cut(whole, neurons=[1, 4]), insert=True)
    assert large.graph.ids.tolist() == [0, 1, 2, 3, 4, 5, 6]
    large(TOKENS)
    with pytest.warns(UserWarning, match="not that of the organ's donor"):
        moved = graft(whole, cut(whole, neurons=[1, 4]), at=2)
    assert torch.equal(moved.graph.round(0).memory.D[2:4], whole.graph.round(0).memory.D[[1, 4]])
    assert moved.recall.looks == [1, 2, 2, 1, 1]
    with pytest.warns(UserWarning, match="its sha256 differs"):
        graft(spoilt(whole, cut(whole, rounds=[2])), cut(whole, rounds=[0]))


@torch.no_grad()
def test_organs_of_signals_and_plain_graphs(tmp_path):
    from inn.config.assemble import model_config

    torch.manual_seed(0)
    signals = SignalGraph(model_config("signal", neurons=4, width=8, rounds=2, features=3)).double().eval()
    graph = inn.Graph(neurons=4, width=8, rounds=2).double().eval()
    for whole, x in ((signals, torch.randn(1, 6, 3).double()), (graph, torch.randn(1, 6, 32).double())):
        for given in ({"rounds": [1]}, {"neurons": [0, 2]}):
            organ = through_a_file(cut(whole, **given), tmp_path)
            assert torch.equal(graft(spoilt(whole, organ), organ)(x)[0], whole(x)[0])


def test_the_header_tells_where_an_organ_comes_from(tmp_path):
    whole = model()
    whole.vocabulary = Characters("abcdefghi")
    organ = through_a_file(cut(whole, neurons=[1, 3], licence="CC0"), tmp_path)
    assert organ.about["ids"] == organ.numbers == [1, 3]
    assert organ.about["joint"]["width"] == 8
    assert organ.about["licence"] == "CC0"
    assert organ.about["made_with"]["torch"]
    assert repr(organ).startswith("Organ(neurons [1, 3], ")
    other = model()
    other.vocabulary = Bytes()
    with pytest.raises(InputError, match="read other symbols"):
        graft(other, organ)


def test_what_does_not_fit_is_named():
    whole = model(rounds=3)
    rounds, neurons = cut(whole, rounds=[0, 1]), cut(whole, neurons=[1])
    for call, sentence in (
        (lambda: cut(whole), "give one of neurons"),
        (lambda: cut(whole, neurons=[1], rounds=[1]), "give one of neurons"),
        (lambda: cut(whole, neurons=[9]), "no neuron 9"),
        (lambda: cut(whole, rounds=[0, 2]), "have others between them"),
        (lambda: cut(model(share_rounds=True), rounds=[0]), "share_rounds"),
        (lambda: cut(model(topology="ring"), neurons=[0]), "listed edges"),
        (lambda: graft(whole, rounds, at=2), "at from 0 to 1, not at 2"),
        (lambda: graft(whole, rounds, at=4, insert=True), "from 0 to 3, not at 4"),
        (lambda: graft(whole, neurons, at=5), "at 0 to 4, not at 5"),
        (lambda: graft(whole, neurons, at=0, insert=True), "leave `at` out"),
        (lambda: graft(model(width=16, rounds=3), rounds), "its width is 8, and the base's is 16"),
        (lambda: graft(model(width=16), neurons), "its width is 8, and the base's is 16"),
        (lambda: graft(model(neurons=4, rounds=3), rounds), "its neurons is 5, and the base's is 4"),
        (lambda: graft(model(memory="gru", rounds=3), rounds), "its memory is mamba, and the base's is gru"),
        (lambda: graft(model(memory="gru", rounds=3), neurons), "neuron 1 of the base"),
        (lambda: graft(model(router="bus", rounds=3), rounds), "its router is dendrites, and the base's is bus"),
        (lambda: graft(model(vocab=11, rounds=3), neurons), "had 9 symbols, and the base has 11"),
        (lambda: graft(model(rounds=2), neurons), "its rounds are 3, and the base's 2"),
        (lambda: graft(torch.nn.Linear(2, 2), rounds), "not of a Linear"),
    ):
        with pytest.raises(InputError, match=sentence):
            call()


def test_hostile_files_are_refused(tmp_path):
    organ, path = cut(model(), neurons=[1]), tmp_path / "my.organ"
    organ.save(path)
    whole = path.read_bytes()
    with_header = {name: t.clone() for name, t in load_file(path).items()}

    def rewritten(change):
        header = {"format": "inn-organ", "version": 1, **copy.deepcopy(organ.about)}
        header["sha256"] = sha256_of(blocks_of(with_header))
        change(header)
        save_file(with_header, path, {"inn": json.dumps(header)})

    cases = [
        (lambda: path.write_bytes(b"\x80\x04pickle"), "is no organ, or damaged"),
        (lambda: path.write_bytes(whole[:-40]), "is no organ, or damaged"),
        (lambda: path.write_bytes(b""), "is no organ, or damaged"),
        (lambda: save_file(with_header, path), "is no organ: its header"),
        (lambda: save_file(with_header, path, {"inn": "[" * 100_000}), "is no organ: its header"),
        (lambda: rewritten(lambda h: h.update(version=2)), "version 2, and this library reads 1"),
        (lambda: rewritten(lambda h: h.update(sha256="0")), "is damaged"),
        (lambda: rewritten(lambda h: h.update(what="code")), "does not say what it is of"),
        (lambda: rewritten(lambda h: h.update(numbers=[7])), "no neuron 7"),
        (lambda: rewritten(lambda h: h.update(numbers=["0"])), "names no neurons"),
        (lambda: rewritten(lambda h: h.update(numbers=[1, 2])), "ids|shape"),
        (lambda: rewritten(lambda h: h.update(ids=["x"])), "ids of its neurons"),
        (lambda: rewritten(lambda h: h["model"].update(width=16)), "differ in"),
        (lambda: rewritten(lambda h: h["model"].update(neurons=10**12)), "cannot be used"),
        (lambda: rewritten(lambda h: h["model"]["memory"].update(kind="os.system")), "unknown memory"),
        (lambda: rewritten(lambda h: h["model"].update(width=2**30)), "cannot be used"),
    ]
    for write, sentence in cases:
        write()
        with pytest.raises(InputError, match=sentence):
            Organ.load(path)
    with pytest.raises(InputError):
        Organ.load(tmp_path / "missing.organ")
    path.write_bytes(whole)
    assert Organ.load(path).numbers == [1]


def test_a_frozen_graft_trains_its_rounds_alone_and_leaves_the_base():
    base = model()
    new = graft(base, cut(base, rounds=[1]), freeze=True).train()
    optimizer = torch.optim.SGD([p for p in new.parameters() if p.requires_grad], 0.1)
    new(TOKENS)[0].square().mean().backward()
    optimizer.step()
    assert {n.split(".")[2] for n, p in new.named_parameters() if p.grad is not None} == {"1"}
    with torch.no_grad():
        assert not torch.equal(new.eval()(TOKENS)[0], base(TOKENS)[0])
        assert torch.equal(graft(new, cut(base, rounds=[1]))(TOKENS)[0], base(TOKENS)[0])
    with pytest.raises(InputError, match="freeze trains rounds"):
        graft(base, cut(base, neurons=[1]), freeze=True)
