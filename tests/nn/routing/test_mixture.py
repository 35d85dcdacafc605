"""The mixture over neurons: its formula, its losses, who is no choice, draws, listed sources, a lag."""

import math

import networkx
import pytest
import torch
import torch.nn.functional as F

import inn
from inn.nn.routing.choice import chosen, penalty
from inn.nn.tape import Tape
from inn.nn.topology.edges import Edges
from inn.registry import ROUTERS
from inn.system.errors import InputError


def router(topology="complete", neurons=4, **options):
    torch.manual_seed(0)
    given = {"kind": "mixture", "zero_start": False, **options}
    config = inn.graph_config(neurons=neurons, width=8, router=given, topology=topology)
    return ROUTERS["mixture"](config).double().eval()


def x(batch=2, time=3, neurons=4):
    torch.manual_seed(1)
    return torch.randn(batch, time, neurons, 8, dtype=torch.float64)


def cost(kind, p, **more):
    logits = p.log()
    answers = chosen(p, 1)
    return float(penalty(kind, p, logits, answers, (p.shape[-1], None), more.get("counts")))


def test_it_is_what_its_formula_says():
    r = router(top=2)
    p = (F.gelu(r.ask(x())) @ r.addresses.T).softmax(-1)
    expected = torch.zeros_like(x())
    for i in range(4):
        best = p[:, :, i].topk(2)
        for share, j in zip(best.values.unbind(-1), best.indices.unbind(-1)):
            expected[:, :, i] += (
                share[..., None] * r.value(x()).gather(2, j[..., None, None].expand(-1, -1, 1, 8))[:, :, 0]
            )
    tape = Tape(("routing",))
    torch.testing.assert_close(r(x(), tape=tape.at(0, None))[0], r.out(expected))
    torch.testing.assert_close(tape.mean("routing").sum(-1)[0, 0], p.topk(2).values.sum(-1).mean((0, 1)))


def test_the_losses_at_their_ends():
    even = torch.eye(8, dtype=torch.float64).reshape(1, 2, 4, 8)  # eight choices, sure and balanced
    uniform = torch.full((1, 2, 4, 8), 1 / 8, dtype=torch.float64)
    assert cost("mi", even) == pytest.approx(-math.log(8), abs=1e-6)
    assert cost("mi", uniform) == pytest.approx(0, abs=1e-12)
    assert cost("concentrate", even) == pytest.approx(math.log(8), abs=1e-6)
    assert cost("concentrate", even[:, :1, :1]) == pytest.approx(0, abs=1e-6)
    few = torch.tensor([[[True, False, False, False], [False] * 4]])
    assert cost("concentrate", even, counts=few) == pytest.approx(0, abs=1e-6)  # one choice that counts
    assert cost("switch", even) == pytest.approx(1, abs=1e-6)  # its logits are of size 0
    assert cost("switch", even[:, :1, :1].expand(1, 2, 4, 8)) == pytest.approx(8, abs=1e-6)


@pytest.mark.parametrize("loss", ["mi", "switch", "concentrate"])
def test_a_loss_is_added_in_training_and_weighed(loss):
    torch.manual_seed(0)
    fields = {"vocab": 5, "neurons": 4, "width": 8, "rounds": 2, "recall": [], "router": "mixture"}
    tokens = torch.arange(20).reshape(2, 10) % 5
    models = [inn.INN(**fields, router_options={"loss": loss, "loss_weight": w}) for w in (0.1, 0.2)]
    models[1].load_state_dict(models[0].state_dict())
    first, second = (m.train()(tokens)[1].penalties[loss] for m in models)
    torch.testing.assert_close(2 * first, second)
    assert not models[0].eval()(tokens)[1].penalties
    first.backward()
    assert models[0].graph.round(0).router.addresses.grad.abs().sum() > 0


def test_a_loss_behind_a_lag_is_of_all_steps():
    torch.manual_seed(0)
    options = {"loss": "mi", "loss_weight": 1.0, "lag": 1}
    graph = inn.Graph(neurons=4, width=8, rounds=1, router="mixture", memory="elman", router_options=options).train()
    given = torch.randn(3, 6, 32)
    _, state = graph(given)
    said = []
    with torch.no_grad():
        now = None
        for t in range(6):
            said.append(torch.zeros(3, 4, 8) if now is None else now[0, "said"])
            _, now = graph(given[:, t : t + 1], now)
        router, norm = graph.round(0).router, graph.round(0).router_norm
        p = (F.gelu(router.ask(norm(torch.stack(said, 1)))) @ router.addresses.T).softmax(-1)
    expected = penalty("mi", p, p.log(), p > 0, (4, None), None)
    torch.testing.assert_close(state.penalties["mi"], expected)


def test_who_is_absent_or_cut_off_is_no_choice():
    r = router(top=2)
    present = torch.ones(2, 3, 4, dtype=torch.bool)
    present[..., 1] = False
    for more in ({"present": present}, {"edges": Edges.complete(4).close([(i, 1) for i in range(4)])}):
        tape = Tape(("routing",))
        r(x(), tape=tape.at(0, None), **more)
        weights = tape.mean("routing")[0, 0]
        assert bool((weights[:, 1] == 0).all())
        p = (F.gelu(r.ask(x())) @ r.addresses[[0, 2, 3]].T).softmax(-1)
        torch.testing.assert_close(weights.sum(-1), p.topk(2).values.sum(-1).mean((0, 1)))


def test_listed_sources_give_what_all_do():
    dense = router(top=2, loss="mi").train()
    listed = router(inn.Topology.from_graph(networkx.complete_graph(4)), top=2, loss="mi").train()
    listed.load_state_dict(dense.state_dict())
    edges = Edges.complete(4).close([(0, 1), (2, 3)])
    for (one, _, a), (other, _, b) in ((dense(x(), edges=edges), listed(x(), edges=edges)),):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(a["mi"], b["mi"])


def test_some_are_drawn_in_training_by_their_probabilities():
    torch.manual_seed(0)
    p = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0]).expand(20000, 5)
    answers = chosen(p, 2, 1)
    assert bool((answers.sum(-1) == 2).all())
    assert bool(answers[:, 0].all())
    torch.testing.assert_close(
        answers[:, 1:].double().mean(0), torch.tensor([0.6, 0.3, 0.1, 0]).double(), atol=0.02, rtol=0
    )
    r = router(top=2, sampled=1)
    given = x()
    assert torch.equal(r(given)[0], r(given)[0])
    r.train()
    torch.manual_seed(3)
    first = r(given)[0]
    assert not torch.equal(first, r(given)[0])
    torch.manual_seed(3)
    assert torch.equal(first, r(given)[0])


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="top 5 asks more neurons than there are, 4"):
        router(top=5)
    with pytest.raises(InputError, match="sampled 3 is more than top 2"):
        router(top=2, sampled=3)
    with pytest.raises(InputError, match="loss_weight does nothing with loss 'none'"):
        router(loss_weight=0.2)
