"""Recall: what followed the last time, as a part of the model and of its state."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given
from hypothesis import strategies as st

import inn
from inn.analysis.recording.record import record
from inn.cli.main import main
from inn.config.migrate import migrate
from inn.config.models import INNConfig
from inn.config.run import RunConfig
from inn.config.settings import resolve_settings
from inn.data.vocabulary import build_vocabulary
from inn.models.inn import RECALL
from inn.nn.recall.last import Last
from inn.nn.state import State
from inn.nn.topology.edges import Edges
from inn.ops.lookup import EMPTY, RUNS

VOCAB = 5
SMALL = {"vocab": VOCAB, "neurons": 3, "width": 6, "rounds": 2, "state": 3, "slots": 40, "embedding_std": 0.5}


def small(**fields):
    torch.manual_seed(0)
    model = inn.INN(**{**SMALL, "recall": [1, 2, 3, 4, 7], **fields}).double().eval()
    with torch.no_grad():  # as after some training: runs differ
        model.recall.gain.add_(torch.randn_like(model.recall.gain))
        model.recall.shift.add_(torch.randn_like(model.recall.shift))
    return model


def text(*shape, seed=1, vocab=VOCAB):
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def same(a, b, **tolerance):
    assert set(a) == set(b)
    for key in a:
        torch.testing.assert_close(a[key], b[key], **tolerance)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), marks=st.booleans(), seed=st.integers(0, 99))
def test_any_split_equals_one_pass_with_gradients(lengths, marks, seed):
    model = small()
    torch.manual_seed(seed)
    x = torch.randint(VOCAB, (2, sum(lengths)))
    reset, mask = torch.rand(x.shape) < (0.1 if marks else 0), torch.rand(x.shape) < (0.7 if marks else 1)

    def run(cuts):
        state, logits = None, []
        for part, starts, counts in zip(x.split(cuts, 1), reset.split(cuts, 1), mask.split(cuts, 1)):
            y, state = model(part, state, reset=starts if marks else None, mask=counts if marks else None)
            logits.append(y)
        y = torch.cat(logits, 1)[mask]
        model.zero_grad()
        (y.sin().sum() + sum(t.sin().sum() for t in state.values() if t.is_floating_point())).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return [y, *(state[key] for key in sorted(state)), *gradients]

    for ours, bar in zip(run(lengths), run([sum(lengths)]), strict=True):
        torch.testing.assert_close(ours, bar, rtol=1e-7, atol=1e-9)


def test_a_reset_is_a_fresh_start_of_its_stream_alone():
    model = small()
    x = text(2, 30)
    _, state = model(x)
    reset = torch.zeros(2, 30, dtype=torch.bool)
    reset[1, 0] = True
    logits, last = model(x, state, reset=reset)
    carried, carried_last = model(x, state)
    fresh, fresh_last = model(x)
    torch.testing.assert_close(logits[0], carried[0])
    torch.testing.assert_close(logits[1], fresh[1])
    same(last.select_batch([0]), carried_last.select_batch([0]))
    same(last.select_batch([1]), fresh_last.select_batch([1]))
    assert not torch.equal(carried[1], fresh[1])


def test_in_training_a_stream_now_and_then_forgets_all_it_knows():
    model = small(forget=0.5).train()
    x, later = text(3, 30), text(3, 30, seed=2)
    _, state = model(x, reset=torch.zeros(3, 30, dtype=torch.bool))
    reset = torch.zeros(3, 30, dtype=torch.bool)
    reset[1, 0] = True
    for told in (None, reset):
        model.recall.drawn = torch.tensor([0.4, 0.6, 0.6])  # the first stream forgets
        found, after, _ = model.recall(later, parts(state), told)
        wanted = torch.tensor([[True], [told is not None], [False]]) & (torch.arange(30) == 0)
        expected, expected_after, _ = model.eval().recall(later, parts(state), wanted)
        model.train()
        torch.testing.assert_close(found, expected)
        same(after, expected_after)
    assert not reset[0].any()  # what was given is left alone
    model.eval().recall.drawn = torch.zeros(3)
    torch.testing.assert_close(model(later, state)[0], small()(later, state)[0])


def parts(state):
    return {name: t for (place, name), t in state.items() if place == RECALL}


def test_a_masked_step_might_as_well_not_be_there():
    model = small()
    x, mask = text(1, 40), torch.rand(1, 40, generator=torch.Generator().manual_seed(2)) < 0.6
    logits, last = model(x, mask=mask)
    expected, alone = model(x[mask][None])
    torch.testing.assert_close(logits[mask], expected[0])
    same(last, alone)


def test_forward_never_changes_the_state_it_was_given():
    model = small()
    _, state = model(text(2, 20))
    kept = state.clone()
    reset = torch.zeros(2, 20, dtype=torch.bool)
    reset[0, 3] = True
    model(text(2, 20, seed=2), state, reset=reset)
    model.step(text(2), state)
    same(state, kept, rtol=0, atol=0)


@pytest.mark.parametrize("dense", [True, False])
def test_steps_in_place_are_the_same_path(dense):
    model = small()
    x = text(2, 25)
    _, state = model(text(2, 9, seed=3))
    whole, last = model(x, state)
    state = state.detach().clone()  # no part of a graph of gradients, which a step would leave as it is
    if not dense:  # as a state may be that was put together by hand
        table = state[RECALL, "table"].permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
        state = State({**state, (RECALL, "table"): table})
        assert not state[RECALL, "table"].is_contiguous()
        same(model(x, state)[1], last)
    for t in range(25):
        logits, after = model.step_(x[:, t], state)
        assert after is state
        torch.testing.assert_close(logits, whole[:, t])
    same(state, last)


@pytest.mark.parametrize("call", ["__call__", "step_"])
def test_a_state_of_other_streams_is_refused_and_left_alone(call):
    model = small()
    _, state = model(text(2, 9))
    kept = state.clone()
    with pytest.raises(ValueError, match="of 2 streams, the input of 3"):
        getattr(model, call)(text(3, 4) if call == "__call__" else text(3), state)
    same(state, kept, rtol=0, atol=0)


def test_streams_can_be_chosen_and_do_not_meet():
    model = small()
    _, state = model(text(3, 30))
    chosen = state.select_batch([2, 0, 2])
    logits, last = model(text(3, 9), chosen)
    for row, stream in enumerate([2, 0, 2]):
        alone, after = model(text(3, 9)[row : row + 1], state.select_batch([stream]))
        torch.testing.assert_close(logits[row], alone[0])
        same(last.select_batch([row]), after)


def test_neurons_can_be_chosen_and_joined():
    model = small()
    _, state = model(text(2, 30))
    left, right = state.select_neurons([0, 1]), state.select_neurons([2])
    assert left[RECALL, "table"].shape[1] == 2
    joined = left.concat_neurons(right)
    same(joined, state, rtol=0, atol=0)
    same(model(text(2, 9), joined)[1], model(text(2, 9), state)[1])


def test_the_future_changes_nothing():
    model = small()
    x = torch.cat((text(1, 20), text(1, 20)), 1)
    for at in (0, 7, 20, 33):
        changed = x.clone()
        changed[0, at] = (changed[0, at] + 1) % VOCAB
        before, after = model(x)[0], model(changed)[0]
        assert torch.equal(before[:, :at], after[:, :at])
        assert not torch.equal(before[:, at], after[:, at])


def test_a_second_reading_is_known_by_heart():
    """By construction: of a text of random symbols, read again, a table of long contexts has every next one."""
    module = Last(INNConfig(vocab=50, neurons=2, width=8, recall=[3, 5]))
    x = text(1, 200, vocab=50).repeat(1, 2)
    table, recent = module.initial_state(1).values()
    found = inn.ops.recall(x, table.flatten(1, 2), recent[:, 0].clone(), module.looks)[0]
    known = found != EMPTY
    assert not known[:200].any()
    assert known[205:].all()
    assert torch.equal(found[205:-1] // RUNS, x[0, 206:, None].expand(-1, 2))
    assert (found[205:-1] % RUNS == 0).all()  # the first time that they were right


@pytest.mark.slow
def test_a_second_reading_is_predicted_better():
    """Trained on random texts that come twice, it predicts the second half of new ones; without recall it cannot."""

    def bits(recall):
        torch.manual_seed(0)
        model = inn.INN(vocab=20, neurons=4, width=16, rounds=1, recall=recall)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(151):
            x = text(8, 60, seed=step, vocab=20).repeat(1, 2)
            loss = F.cross_entropy(model(x)[0][:, :-1].transpose(1, 2), x[:, 1:], reduction="none")
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        return loss[:, :59].mean().item(), loss[:, 70:].mean().item()

    first, second = bits({"kind": "last", "contexts": [2, 3, 4, 5], "slots": 1024})
    assert first > 2.9  # ln 20 = 3.0: nobody can know
    assert second < 1.0
    assert bits("none")[1] > 2.5


def test_context_lengths_are_dealt_out_in_turn():
    def orders(neurons, recall):
        return Last(INNConfig(vocab=VOCAB, neurons=neurons, width=6, recall=recall)).looks

    assert orders(3, [2, 4, 6]) == [2, 4, 6]
    assert orders(2, [2, 4, 6]) == [2, 6, 4, 2]  # neuron 0 has 2 and 6, neuron 1 has 4, and 2 again
    assert orders(5, [2, 4]) == [2, 4, 2, 4, 2]
    assert small().recall.each == 2
    state = small().initial_state(4)
    assert state[RECALL, "table"].shape == (4, 3, 2, 40)
    assert state[RECALL, "recent"].shape == (4, 3, 7)


def test_what_is_found_is_a_symbol_by_neuron_and_run():
    """The module against its formula, symbol by symbol."""
    model = small()
    m, x = model.recall, text(1, 60)
    found, _, _ = m(x, None)
    table, recent = m.initial_state(1).values()
    codes = inn.ops.recall(x, table.flatten(1, 2), recent[:, 0].clone(), m.looks).unflatten(2, (3, 2))
    assert (codes % RUNS).max() > 0
    for t in range(60):
        for n in range(3):
            heard = []
            for j in range(2):
                code = int(codes[0, t, n, j])
                run = RUNS if code == EMPTY else code % RUNS
                symbol = m.symbol[max(code, 0) // RUNS]
                heard.append(symbol * m.gain[n, j, run] + m.shift[n, j, run])
            torch.testing.assert_close(found[0, t, n], m.into.weight[n] @ torch.cat(heard))


def test_where_nothing_is_found_no_symbol_is_heard_at_the_start():
    torch.manual_seed(0)
    module = Last(INNConfig(vocab=50, neurons=2, width=8))
    found, _, _ = module(torch.arange(50)[None], None)  # no context comes twice
    assert (found == 0).all()


def test_tokens_of_any_whole_type_and_the_kernels_in_bfloat16():
    model = small().float()
    bar = model(text(2, 20))[0]
    assert torch.equal(model(text(2, 20).int())[0], bar)
    with torch.autocast("cpu", torch.bfloat16):
        rough, state = model(text(2, 20))
        rough = torch.cat((rough, model(text(2, 20), state)[0]), 1)
    assert state[RECALL, "table"].dtype == torch.int32
    assert (rough[:, :20].float() - bar).abs().max() < 0.05 * bar.abs().max()


def test_closed_edges_and_recomputed_rounds_leave_recall_alone():
    model = small()
    alone = Edges.complete(3).close([(i, j) for i in range(3) for j in range(3)])
    x = text(2, 30)
    _, cut = model(x, edges=alone)
    _, whole = model(x)
    for part in ("table", "recent"):
        assert torch.equal(cut[RECALL, part], whole[RECALL, part])
    gradients = []
    for model.graph.checkpoint_rounds in (False, True):
        model.zero_grad()
        model(x)[0].square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_tape_records_the_rounds_and_not_recall():
    model = small()
    with record(model, "activity", "state") as tape:
        model(text(2, 9))
    assert tape.mean("state").shape == (2, 3)


def test_a_state_goes_through_a_file_and_a_cast():
    model = small()
    _, state = model(text(2, 30))
    back = State.from_tensors(state.to_tensors())
    same(back, state, rtol=0, atol=0)
    same(model(text(2, 9), back)[1], model(text(2, 9), state)[1])
    assert torch.equal(state.to(torch.bfloat16)[RECALL, "table"], state[RECALL, "table"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"recall": [0]}, "contexts of 1 to 64 symbols, not 0"),
        ({"recall": [65]}, "contexts of 1 to 64 symbols, not 65"),
        ({"recall": {"kind": "last", "width": 0}}, "recall.width must be at least 1"),
        ({"recall": {"kind": "last", "slots": 0}}, "recall.slots must be at least 4"),
        ({"recall": {"kind": "last", "contexts": []}}, "no context; set recall none"),
        ({"recall": {"kind": "last", "contexts": 2}}, r"recall.contexts expects a list like \[1,2\], not 2"),
        ({"recall": {"kind": "none", "slots": 8}}, "option 'slots' belongs to recall 'last' or 'counts', not 'none'"),
        ({"vocab": 2**21 + 1}, "at most 2,097,152 symbols"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(fields, sentence):
    with pytest.raises(inn.InputError, match=sentence):
        INNConfig(**fields)


def old(tmp_path):
    """The configuration of a run of version 0.1, in a run's folder; and the model it meant."""
    meant = resolve_settings("text8-last", ["--model.router", "attention", "--model.width=8", "--model.recall=none"])
    tree = meant.to_dict()
    for name in ("recall", "topology", "population"):
        del tree["model"][name]
    for part in ("memory", "router", "readout"):  # options stood beside the fields
        options = tree["model"].pop(part)
        tree["model"] |= {part: options.pop("kind"), **options}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    return meant


def test_a_run_from_before_recall_is_what_it_was(tmp_path, capsys):
    from inn.runs.directory import Run

    meant = old(tmp_path)
    assert Run(tmp_path).config() == meant
    assert resolve_settings(str(tmp_path / "config.yaml")) == meant  # a run's configuration is a recipe
    assert main(["info", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["settings"]["model"]["recall"] == {"kind": "none"}
    assert "recall" not in facts["parameters_by_part"]


def test_a_run_with_recall_and_a_recipe_are_read_as_they_are():
    new = resolve_settings("text8-last", ["--model.recall=[3,1]"])
    assert RunConfig.from_dict(migrate(new.to_dict())) == new
    assert resolve_settings("text8-last").model.recall == INNConfig().recall


@pytest.mark.parametrize("taped", [False, True])
def test_what_a_model_writes_is_not_recalled(taped):
    torch.manual_seed(0)
    model = inn.INN(vocab=5, neurons=2, width=8, rounds=1, recall=[1, 2], slots=32).eval()
    _, state = model(torch.randint(5, (1, 30)))
    before = state.clone()
    symbol = torch.tensor([3])
    with inn.record(model, "activity") if taped else contextlib.nullcontext():
        _, after = model.step_(symbol, state.clone(), remember=False)
        _, learned = model.step_(symbol, state.clone())
    assert torch.equal(after[-1, "table"], before[-1, "table"])
    assert not torch.equal(learned[-1, "table"], before[-1, "table"])
    assert all(torch.equal(after[key], learned[key]) for key in after if key != (-1, "table"))


def test_generation_believes_the_prompt_and_not_itself(monkeypatch):
    model = inn.INN(vocab=5, neurons=2, width=8, rounds=1, recall=[1, 2], slots=32).eval()
    model.vocabulary = build_vocabulary("characters", "abcde")
    step, tables = model.step_, []

    def watched(tokens, state, **options):
        logits, state = step(tokens, state, **options)
        tables.append(state[-1, "table"].clone())
        return logits, state

    monkeypatch.setattr(model, "step_", watched)
    assert len("".join(model.generate("abcabcabc", 20, seed=0))) == 20
    assert len(tables) > 10
    assert (tables[0] >= 0).any()
    assert all(torch.equal(tables[0], table) for table in tables)
