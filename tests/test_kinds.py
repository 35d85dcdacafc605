"""Kinds: the contracts of all there are, kinds of one's own, kinds of an installed package, mixed populations."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import inn
import inn.testing
from inn.config.run import DataConfig, RunConfig, TrainConfig
from inn.config.settings import resolve
from inn.nn.topology.base import edges_of
from inn.registry import GATES, INNERS, MEMORIES, MODELS, READOUTS, RECALLS, ROUTERS, TOPOLOGIES
from inn.system.errors import InputError

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
SMALL = {
    "vocab": 11,
    "neurons": 4,
    "width": 8,
    "rounds": 2,
    "recall": {"kind": "last", "contexts": [1, 2], "slots": 64, "width": 4},
}
TOKENS = torch.arange(24).reshape(2, 12) % 11


@dataclass
class Tau(inn.Options):
    tau: float = 10.0
    """Steps that the memory lasts."""


class Leaky(inn.Memory):
    """A leaky integrator."""

    Options = Tau

    def __init__(self, config):
        super().__init__(config)
        self.shape, self.keep = (config.neurons, config.width), 1 - 1 / config.memory.tau
        self.out = inn.NeuronLinear(config.populations, config.width, config.width)

    def initial_state(self, batch):
        w = self.out.weight
        return {
            "h": torch.zeros(batch, *self.shape, dtype=torch.promote_types(w.dtype, torch.float32), device=w.device)
        }

    def forward(self, x, state, *, reset=None, mask=None):
        h, found = state["h"], []
        for t in range(x.shape[1]):
            if reset is not None:
                h = h.masked_fill(reset[:, t, None, None], 0.0)
            new = self.keep * h + x[:, t].to(h.dtype)
            h = new if mask is None else torch.where(mask[:, t, None, None], new, h)
            found.append(h)
        return self.out(torch.stack(found, 1).to(x.dtype)), {"h": h}

    def flops(self):
        return {"memory.matrices": self.out.flops(self.shape[0])}


class Sum(inn.WeightedRouter):
    """Everyone hears the sum of all."""

    mass = None

    def forward(self, x, state=None, *, edges=None, gate=None, reset=None, mask=None, tape=None):
        v = self.values(x, gate)
        return self.out(v.sum(2, keepdim=True).expand_as(v)), {}


def built_in(kinds):
    """The kinds that come with the library, not those that other tests register."""
    return [kind for kind in kinds if kinds.origin(kind) == "built in"]


@pytest.fixture
def leaky():
    with MEMORIES.lent("leaky", Leaky):
        yield


@pytest.mark.parametrize("memory", [*built_in(MEMORIES), Leaky])
def test_memories(memory):
    inn.testing.check_memory(memory)


@pytest.mark.parametrize("router", [kind for kind in built_in(ROUTERS) if kind != "none"])
def test_routers(router):
    inn.testing.check_router(router)


@pytest.mark.parametrize(
    "topology, options",
    [
        ("complete", {}),
        ("ring", {}),
        ("small-world", {"rewired": 0.8}),
        ("groups", {"between": 2}),
        ("edges", {"edges": [[0, 1], [1, 2, -1], [3, 0]]}),
        ("chain", {"size": 2}),
        ("rewired", {"density": 0.5}),
        ("rewired", {"density": 0.5, "groups": 2, "inside": 1.0}),
        ("signatures", {}),
    ],
)
def test_topologies(topology, options):
    inn.testing.check_topology(topology, **options)


@pytest.mark.parametrize("inner", [kind for kind in built_in(INNERS) if kind != "none"])
def test_inner_maps(inner):
    inn.testing.check_inner(inner)


@pytest.mark.parametrize("gate", [kind for kind in built_in(GATES) if kind != "none"])
def test_gates(gate):
    inn.testing.check_gate(gate)


@pytest.mark.parametrize("readout", built_in(READOUTS))
def test_readouts(readout):
    inn.testing.check_readout(readout)


@pytest.mark.parametrize(
    "recall",
    [pytest.param(k, marks=[pytest.mark.slow] * (k == "counts")) for k in built_in(RECALLS) if k != "none"],
)
def test_recalls(recall):
    inn.testing.check_recall(recall)


@pytest.mark.parametrize("kind", built_in(MODELS))
def test_models(kind):
    inn.testing.check_model(kind)


class Forgetful(Leaky):
    def forward(self, x, state, *, reset=None, mask=None):
        return super().forward(x, state, mask=mask)


class Nosy(Leaky):
    def forward(self, x, state, *, reset=None, mask=None):
        return super().forward(x + x.mean(2, keepdim=True), state, reset=reset, mask=mask)


class Heedless(Sum):
    """Hears over closed edges."""


@pytest.mark.parametrize(
    "check, kind, sentence",
    [
        (inn.testing.check_memory, Forgetful, "a reset is no fresh start"),
        (inn.testing.check_memory, Nosy, "neurons meet"),
        (inn.testing.check_router, Heedless, "a closed edge carries something"),
    ],
)
def test_a_broken_contract_is_named(check, kind, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check(kind)


def test_a_kind_of_ones_own_is_built_configured_and_stored(leaky):
    model = inn.INN(**SMALL, memory="leaky", memory_options={"tau": 3.0})
    assert model.graph.round(0).memory.keep == pytest.approx(2 / 3)
    assert inn.INN(**SMALL, memory="leaky", tau=3.0).config == model.config
    settings = resolve("text8-small", ["--model.memory", "leaky", "--model.memory.tau", "5"])
    assert settings.config.model.memory == Tau(kind="leaky", tau=5.0)
    tree = RunConfig(model.config, DataConfig(), TrainConfig()).to_dict()
    assert tree["model"]["memory"] == {"kind": "leaky", "from": f"module {__name__}", "tau": 3.0}
    assert RunConfig.from_dict(tree).model == model.config
    with pytest.raises(InputError, match="did you mean 'tau'"):
        resolve("text8-small", ["--model.memory", "leaky", "--model.memory.tua", "5"])
    with pytest.raises(InputError, match="cannot be 'laeky'; did you mean 'leaky'"):
        resolve("text8-small", ["--model.memory", "laeky"])


def test_options_may_be_a_plain_dataclass():
    @dataclass
    class Plain:
        tau: float = 7.0

    class Own(Leaky):
        Options = Plain

    with MEMORIES.lent("own", Own):
        assert inn.INN(**SMALL, memory="own").config.memory.tau == 7.0
        settings = resolve("text8-small", ["--model.memory", "own", "--model.memory.tau", "5"])
        assert (settings.config.model.memory.kind, settings.config.model.memory.tau) == ("own", 5.0)
        Own.Options = dict
        with pytest.raises(InputError, match="must be a dataclass"):
            inn.INN(**SMALL, memory="own")


def test_a_stored_kind_that_is_not_here_is_one_sentence():
    tree = RunConfig(inn.model_config(), DataConfig(), TrainConfig()).to_dict()
    tree["model"]["memory"] = {"kind": "sru", "from": "inn-sru 0.1"}
    with pytest.raises(InputError, match="comes with inn-sru"):
        RunConfig.from_dict(tree)
    tree["model"]["memory"] = {"kind": "leaky", "from": "module mine"}
    with pytest.raises(InputError, match="registered by module mine"):
        RunConfig.from_dict(tree)


def test_a_name_is_taken_once():
    with pytest.raises(InputError, match="router 'bus' is there already"):
        inn.register("router", "bus")(Sum)
    with pytest.raises(InputError, match="unknown sort of kind 'memories'; did you mean 'memory'"):
        inn.register("memories", "x")


def test_only_an_exchangeable_router_is_collapsed():
    fields = {"preset": "paper", "vocab": 27, "neurons": 4, "width": 16, "rounds": 2, "heads": 2}
    inn.collapse(inn.INN(**fields))
    with ROUTERS.lent("sum", Sum):
        fields.pop("heads")
        model = inn.INN(**fields, router="sum")
        with pytest.raises(InputError, match="router 'sum' does not say"):
            inn.collapse(model)
    with pytest.raises(InputError, match="topology 'ring'"):
        inn.collapse(inn.INN(**fields, heads=2, topology="ring"))


@pytest.mark.parametrize("router", ["dendrites", "attention", "none"])
def test_a_mixed_population_is_a_population(leaky, router):
    population = [{"neurons": 3}, {"neurons": 2, "memory": "leaky", "memory_options": {"tau": 4.0}}]
    fields = {**SMALL, "router": router}
    fields.pop("neurons")
    torch.manual_seed(0)
    model = inn.INN(**fields, population=population).eval()
    assert model.config.neurons == 5
    logits, state = model(TOKENS)
    assert {part: t.shape[1] for (r, part), t in state.items() if r == 0} == {"conv@0": 3, "ssm@0": 3, "h@1": 2}
    _, at = model(TOKENS[:, :5])
    torch.testing.assert_close(model(TOKENS[:, 5:], at)[0], logits[:, 5:])
    now = model.initial_state(2)
    for t in range(12):
        step, now = model.step_(TOKENS[:, t], now)
        torch.testing.assert_close(step, logits[:, t], rtol=1e-4, atol=1e-5)
    few = state.select_neurons([1, 4])
    assert torch.equal(few[0, "ssm@0"], state[0, "ssm@0"][:, [1]])
    assert torch.equal(few[0, "h@1"], state[0, "h@1"][:, [1]])
    assert torch.equal(few[-1, "table"], state[-1, "table"][:, [1, 4]])
    with inn.record(model, "activity", "state") as tape:
        model(TOKENS)
    assert tape.mean("state").shape == (2, 5)
    with pytest.raises(InputError, match="have 5 neurons, not 4"):
        inn.INN(**SMALL, population=population)


def test_edges_come_from_files_and_graphs(tmp_path):
    import networkx

    listed = tmp_path / "edges.csv"
    listed.write_text("to,from,sign\n0,1,1\n2,0,-1\n")
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[2, 0] = 2.0, -0.5
    np.savetxt(tmp_path / "matrix.csv", matrix, delimiter=",")
    np.savez(tmp_path / "matrix.npz", adjacency=matrix)
    np.savez(tmp_path / "edges.npz", edges=[[0, 1, 1], [2, 0, -1]])
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(4))
    graph.add_edge(1, 0)
    graph.add_edge(0, 2, sign=-1)
    configs = [
        inn.graph_config(neurons=4, topology="file", topology_options={"path": str(tmp_path / name)})
        for name in ("edges.csv", "matrix.csv", "matrix.npz", "edges.npz")
    ]
    configs.append(inn.graph_config(neurons=4, topology=inn.Topology.from_graph(graph)))
    for config in configs:
        edges = edges_of(config)
        assert edges.dense().int().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
        assert (edges.signs * edges.open).sum() == 4  # five edges and the neurons themselves, one negative
    listed.unlink()
    assert edges_of(RunConfig.from_dict({"model": RunConfig(
        inn.model_config(neurons=4, topology=configs[0].topology), DataConfig(), TrainConfig()
    ).to_dict()["model"]}).model) is not None  # fmt: skip
    for content, sentence in (("0,9\n", "name neuron 9"), ("a,b\n", "not to,from"), ("0,1\n0,1\n", "listed twice")):
        (tmp_path / "bad.csv").write_text(content)
        with pytest.raises(InputError, match=sentence):
            inn.graph_config(neurons=4, topology="file", topology_options={"path": str(tmp_path / "bad.csv")})
    with pytest.raises(InputError, match="there is no topology file"):
        inn.graph_config(topology="file", topology_options={"path": str(tmp_path / "none.csv")})


def test_a_lesion_lies_on_top_of_the_topology():
    model = inn.INN(**SMALL, topology="ring").eval()
    from inn.analysis import cut

    with cut(model, [(0, 1)]):
        x = model.embed(TOKENS)
        moved = x.clone()
        moved[:, :, 1] += 1
        router = model.graph.round(0).router
        edges = model.graph.edges
        assert torch.equal(router(x, edges=edges)[0][:, :, 0], router(moved, edges=edges)[0][:, :, 0])
    assert not torch.equal(router(x, edges=edges)[0][:, :, 0], router(moved, edges=edges)[0][:, :, 0])


@pytest.mark.parametrize("router", ["dendrites", "attention", "mixing", "static", "bus"])
def test_routing_over_listed_edges_is_recorded_where_the_edges_are(router):
    """As a matrix of all neurons, in a tape and in a survey."""
    from inn.analysis.observe import observe
    from inn.analysis.recording.stretches import stretches

    model = inn.INN(**SMALL, router=router, topology="ring").eval()
    for p in model.parameters():  # messages that begin at zero, too
        torch.nn.init.normal_(p, std=0.1)
    text = stretches(np.arange(600) % 11, 300)
    maps = observe(model, text).maps
    with inn.record(model, "routing") as tape:
        model(text.tokens.long())
    for recorded in (maps.mean(0), tape.mean("routing").mean(1)):
        off = ~model.graph.edges.dense()
        assert (recorded[:, off] == 0).all()
        assert (recorded[:, ~off] != 0).all()


def test_a_small_world_is_near_and_few_steps_from_all():
    import networkx

    def graph(**options):
        edges = edges_of(inn.graph_config(neurons=60, topology="small-world", topology_options=options))
        return networkx.from_numpy_array(edges.dense().int().fill_diagonal_(0).numpy().T, create_using=networkx.DiGraph)

    ring, small = graph(neighbours=6, rewired=0.0), graph(neighbours=6, rewired=0.1)
    assert networkx.average_shortest_path_length(small) < 0.75 * networkx.average_shortest_path_length(ring)
    assert networkx.average_clustering(small) > 0.6 * networkx.average_clustering(ring)
    assert all(d == 6 for _, d in small.in_degree())


@pytest.mark.slow
def test_an_installed_package_brings_its_kinds(tmp_path):
    """The package of `examples/plugin`, as pip would lay it down: its files and its entry points."""
    site = tmp_path / "site"
    (site / "inn_gru-0.1.dist-info").mkdir(parents=True)
    (site / "inn_gru").symlink_to(PLUGIN / "inn_gru")
    text = (PLUGIN / "pyproject.toml").read_text()
    points = [line.replace('[project.entry-points."', "[").replace('"]', "]") for line in text.splitlines()]
    start = next(i for i, line in enumerate(points) if line.startswith("[inn."))
    end = points.index("[tool.setuptools]")
    entries = "\n".join(line.replace('"', "") for line in points[start:end])
    (site / "inn_gru-0.1.dist-info" / "entry_points.txt").write_text(entries)
    (site / "inn_gru-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: inn-gru\nVersion: 0.1\n")
    (tmp_path / "corpus.txt").write_text("the cat sat on the mat; the dog ate the hat. " * 60)
    paths = [str(Path(inn.__file__).parents[1]), *sys.path]

    def python(*argv, brought=True):
        path = os.pathsep.join([*([str(site)] if brought else []), *paths])
        return subprocess.run(
            [sys.executable, *argv], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    def command(*argv, **options):
        return python("-m", "inn", *argv, **options)

    train = (
        "train demo --run run --data.corpus file:corpus.txt --model.memory slow-gru --model.memory.update_bias 2 "
        "--model.router left --model.topology star --model.neurons 3 --model.width 8 --model.recall [1,2] "
        "--model.recall.slots 64 --train.symbols 1024 --data.batch 4 --data.window 32 --train.threads 1"
    )
    done = command(*train.split())
    assert done.returncode == 0, done.stderr
    # The others in one process, which finds the kinds as each would.
    others = (["eval", "run"], ["generate", "run", "--tokens", "20"], ["export", "run", "out"],
              ["generate", "out", "--tokens", "20"], ["look", "run"], ["kinds", "memory"])  # fmt: skip
    code = f"from inn.cli.main import main; assert not any(main(argv) for argv in {others!r})"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "inn-gru 0.1" in done.stdout
    assert "update_bias: 2.0" in (tmp_path / "run" / "config.yaml").read_text()
    without = command("eval", "run", brought=False)
    assert without.returncode == 2
    assert (
        without.stderr
        == "inn: memory 'slow-gru' comes with inn-gru 0.1, which is not installed here; pip install inn-gru\n"
    )


def test_neurons_hear_their_group_in_order_and_a_share_says_how_many_are_heard_across():
    def edges(neurons, **options):
        return edges_of(inn.graph_config(neurons=neurons, topology="groups", topology_options=options))

    found = edges(24, groups=4, across=0.17)
    assert list(found.sources.shape) == [24, 6 + 3]
    assert found.sources[:, :6].tolist() == [[i // 6 * 6 + k for k in range(6)] for i in range(24)]
    assert (found.sources[:, 6:] // 6 != torch.arange(24)[:, None] // 6).all()
    for wrong in ({"between": 1, "across": 0.5}, {"across": 1.5}, {"across": 0.01}, {"between": 19}):
        with pytest.raises(InputError, match=r"across|between"):
            edges(24, groups=4, **wrong)


def test_edges_keep_their_lags_and_log_weights_and_a_router_that_does_not_know_them_says_so():
    edges = inn.Edges.listed([[0, 1], [1], [2, 0]])
    numbers = torch.arange(6).view(3, 2)
    edges = replace(edges, lags=numbers, log_weights=numbers / 2)
    for other in (edges.to("cpu"), edges.close([(0, 1)]), edges.within(inn.Edges.complete(3))):
        assert (other.lags.tolist(), other.log_weights.tolist()) == (numbers.tolist(), (numbers / 2).tolist())
    cut = edges.within(inn.Edges.complete(3).close([(2, 0), (1, 1)]))
    assert cut.open.tolist() == [[True, True], [False, False], [True, False]]

    class Weighed(inn.Topology):
        def edges(self, neurons):
            ring = inn.Edges.listed([[i, (i + 1) % neurons] for i in range(neurons)])
            return replace(ring, log_weights=torch.arange(2.0 * neurons).view(neurons, 2))

    with TOPOLOGIES.lent("weighed", Weighed):
        layer = inn.Graph(neurons=4, width=8, router="attention", topology="weighed")
        assert torch.equal(layer.edges.log_weights, layer.state_dict()["edge_log_weights"])
        with pytest.raises(InputError, match="log_weights of edges, which router 'bus' does not"):
            inn.Graph(neurons=4, width=8, router="bus", topology="weighed")
