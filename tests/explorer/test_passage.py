"""What a passage holds is what the model did, up to the steps that its numbers are kept in."""

from __future__ import annotations

import base64
import math
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from inn.analysis import relative
from inn.analysis.recording.trace import trace
from inn.config.assemble import model_config
from inn.data.vocabulary import build_vocabulary
from inn.explorer.passage import read_passage
from inn.models.build import build_model
from inn.system.errors import InputError

TEXT = "the graph of neurons listens and speaks " * 8


def unpacked(text: str, *shape: int, dtype=np.uint8) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype).reshape(shape)


def routing_of(facts: dict) -> np.ndarray:
    """Shares `[T, R, N_to, N_from]` as the page reads them."""
    routing, (T, R, N) = facts["routing"], (facts["symbols"], facts["rounds"], facts["neurons"])
    scale = np.array(routing["scale"])[:, None, None] / routing["steps"]
    if routing["form"] == "dense":
        return unpacked(routing["data"], T, R, N, N) * scale
    kept, dtype = routing["kept"], np.dtype(f"<u{routing['source_bytes']}")
    shares = np.zeros((T, R, N, N))
    sources = unpacked(routing["sources"], T, R, N, kept, dtype=dtype).astype(np.int64)
    np.put_along_axis(shares, sources, unpacked(routing["data"], T, R, N, kept) * scale, -1)
    return shares


def recorded(facts: dict) -> int:
    """Characters of all that is packed."""
    parts = [facts[key] for key in ("activity", "gate", "routing") if facts[key]]
    return sum(len(part.get(name, "")) for part in parts for name in ("data", "sources"))


def traced(model, symbols, *channels):
    with torch.no_grad(), trace(model, *channels) as tape:
        logits, _ = model(torch.from_numpy(symbols.astype(np.int64))[None])
    return tape, logits[0]


@pytest.mark.parametrize("router", ["dendrites", "attention", "static", "mixing", "bus"])
def test_a_passage_is_what_the_model_did(router, model_of):
    model = model_of(TEXT, router=router, gate="soft" if router == "attention" else "none")
    symbols = model.vocabulary.encode(TEXT)
    facts = read_passage(model, symbols, title="a text")
    tape, logits = traced(model, symbols, "routing", "activity", *["gate"] * (router == "attention"))
    weights = tape.values("routing").mean(2).abs().transpose(0, 1)
    shares = (weights / weights.sum(-1, keepdim=True)).numpy()
    step = shares.max((0, 2, 3)).max() / 255
    assert np.abs(routing_of(facts) - shares).max() <= 0.51 * step + 1e-3 * shares.max()  # halves, and float16
    loud = relative(tape.values("activity")).transpose(0, 1).numpy()
    kept = unpacked(facts["activity"]["data"], *loud.shape) * (np.array(facts["activity"]["scale"])[:, None] / 255)
    assert np.abs(kept - loud).max() <= 0.51 * loud.max() / 255
    nats = F.cross_entropy(logits[:-1], torch.from_numpy(symbols[1:].astype(np.int64)), reduction="none")
    assert facts["bits"][0] is None
    assert np.allclose(facts["bits"][1:], nats / math.log(2), atol=1e-3)
    assert facts["mean_bits"] == pytest.approx(float(nats.mean()) / math.log(2), rel=1e-5)
    assert "".join(facts["text"]) == TEXT
    best = logits[7].softmax(-1).topk(5)
    top = facts["top"]
    assert [facts["labels"][i] for i in top["ids"][35:40]] == [model.vocabulary.symbol(i) for i in best.indices]
    assert top["shares"][35:40] == pytest.approx(best.values.tolist(), abs=1e-4)
    if router == "attention":
        gates = unpacked(facts["gate"]["data"], *loud.shape) / 255
        assert np.abs(gates - tape.values("gate").transpose(0, 1).numpy()).max() < 0.003


def test_a_passage_goes_on_from_what_was_read_before(model_of):
    model = model_of(TEXT, recall=[2, 3])
    symbols = model.vocabulary.encode(TEXT)
    whole, part = read_passage(model, symbols), read_passage(model, symbols[100:], before=symbols[:100])
    assert part["before"] == 100
    assert np.allclose(part["bits"], whole["bits"][100:], atol=2e-3)
    assert part["top"]["shares"] == pytest.approx(whole["top"]["shares"][500:], abs=2e-4)


def test_without_a_router_there_is_no_routing(model_of):
    facts = read_passage(model_of(TEXT, router="none"), np.zeros(9, np.uint8))
    assert facts["routing"] is None
    assert facts["activity"] is not None


@pytest.mark.parametrize("neurons, form", [(64, "dense"), (65, "strongest")])
def test_many_neurons_keep_their_strongest_edges(neurons, form, model_of):
    model = model_of(TEXT, neurons=neurons, width=4, rounds=1, router="attention", heads=1)
    symbols = model.vocabulary.encode(TEXT)[:20]
    facts = read_passage(model, symbols)
    assert facts["routing"]["form"] == form
    shares = traced(model, symbols, "routing")[0].values("routing").mean(2).transpose(0, 1).numpy()
    found = routing_of(facts)
    if form == "strongest":
        assert facts["routing"]["kept"] == 8
        weakest = np.sort(shares, -1)[..., -8]
        assert (shares[found > 0] >= np.broadcast_to(weakest[..., None], shares.shape)[found > 0] - 1e-6).all()
    assert np.abs(found[found > 0] - shares[found > 0]).max() < 0.005 * shares.max()


def test_too_little_room_takes_coarser_steps_then_fewer_edges_then_fewer_symbols(model_of):
    model = model_of(TEXT, neurons=16, width=4)
    symbols = model.vocabulary.encode(TEXT)
    whole = recorded(read_passage(model, symbols))
    rooms = [int(part * whole) for part in (1, 0.85, 0.3, 0.1)]
    found = [read_passage(model, symbols, room=room) for room in rooms]
    assert all(recorded(facts) <= room for facts, room in zip(found, rooms))
    assert found[0]["routing"]["steps"] == 255 > found[1]["routing"]["steps"]
    assert [facts["routing"]["form"] for facts in found] == ["dense", "dense", "strongest", "strongest"]
    assert [facts["symbols"] == len(symbols) for facts in found] == [True, True, True, False]
    cut = found[-1]
    assert cut["asked"] == len(symbols)
    assert len(cut["text"]) == len(cut["bits"]) == len(cut["ids"]) == cut["symbols"] == len(cut["top"]["ids"]) // 5


def test_words_and_bytes_read_as_text(model_of):
    model = model_of("a cat sat\non a mat", "words")
    facts = read_passage(model, model.vocabulary.encode("a cat\non a dog"))
    assert "".join(facts["text"]) == "a cat\non a <unk>"
    model = model_of("", "bytes")
    facts = read_passage(model, model.vocabulary.encode("é\x00ü"))
    assert facts["text"] == ["\\xc3", "é", "\\x00", "\\xc3", "ü"]


def test_what_cannot_be_looked_at(model_of):
    model = model_of(TEXT)
    with pytest.raises(InputError, match="a passage of 1 symbols is too short"):
        read_passage(model, np.zeros(1, np.uint8))
    model.vocabulary = None
    with pytest.raises(InputError, match="no vocabulary"):
        read_passage(model, np.zeros(9, np.uint8))
    rival = build_model(model_config("lstm", vocab=27))
    rival.vocabulary = build_vocabulary("characters", "abc")
    with pytest.raises(InputError, match="no graph of neurons"):
        read_passage(rival, np.zeros(9, np.uint8))


def test_the_model_keeps_its_mode_and_its_tape(model_of):
    model = model_of(TEXT, dropout=0.5).train()
    first = read_passage(model, model.vocabulary.encode(TEXT)[:40])
    assert model.training
    assert model.graph.tape is None
    assert first["bits"] == read_passage(model, model.vocabulary.encode(TEXT)[:40])["bits"]


def test_of_a_large_sparse_graph_edges_are_places_in_its_list(model_of):
    fields = {"neurons": 320, "width": 2, "rounds": 1, "router": "attention", "heads": 1, "topology": "groups"}
    model = model_of(TEXT, **fields, topology_options={"groups": 20, "across": 0.01})
    symbols = model.vocabulary.encode(TEXT)[:6]
    facts = read_passage(model, symbols)
    routing = facts["routing"]
    kept = routing["kept"]

    def numbers(name, dtype, *shape):
        return np.frombuffer(zlib.decompress(base64.b64decode(routing[name])), dtype).reshape(shape)

    listed = numbers("listed", "<u2", 320, -1)
    places = numbers("sources", np.uint8, 6, 1, 320, kept)
    sources = np.take_along_axis(np.broadcast_to(listed, (6, 1, *listed.shape)), places.astype(int), -1)
    found = numbers("data", np.uint8, 6, 1, 320, kept) * routing["scale"][0] / 255
    shares = traced(model, symbols, "routing")[0].values("routing").mean(2).transpose(0, 1).numpy()
    wanted = np.take_along_axis(shares, sources.astype(int), -1)
    np.testing.assert_allclose(found, wanted, atol=0.51 * routing["scale"][0] / 255 + 1e-3)
    np.testing.assert_allclose(wanted[..., 0], shares.max(-1), rtol=2e-3)
    assert sorted(map(len, facts["groups"])) == [16] * 20
    assert sorted(n for group in facts["groups"] for n in group) == list(range(320))
