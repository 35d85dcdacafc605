"""Topologies, as the notation says them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inn.compress.topologies import TOPOLOGIES, Block, only, parse_topology
from inn.system.errors import InputError


def model(layers: int, roles: str = "qkvougd") -> list[Block]:
    return [Block(layer, role) for layer in range(layers) for role in roles]


def words(groups) -> list[str]:
    return [" ".join(map(str, group)) for group in groups]


@pytest.mark.parametrize(
    "topology, layers, groups",
    [
        ("q-k-v", 2, ["k0", "q0", "v0", "k1", "q1", "v1"]),
        ("qkv", 2, ["k0 q0 v0", "k1 q1 v1"]),
        ("qq-kk-vv", 2, ["k0 k1", "q0 q1", "v0 v1"]),
        ("qqq-kk-v", 3, ["k0 k1", "q0 q1 q2", "v0", "v1", "k2", "v2"]),
        ("kk-qv", 2, ["k0 k1", "q0 v0", "q1 v1"]),
        ("qkk-qvv", 2, ["k0 q0 k1", "v0 q1 v1"]),
        ("ug-dd", 2, ["d0 d1", "g0 u0", "g1 u1"]),
        ("hybrid1", 4, ["k0 k1", "q0 v0", "q1 v1", "k2 k3", "q2 q3", "v2 v3"]),
        ("hybrid2", 4, ["k0 k1", "q0 q1", "v0 v1", "k2 k3", "q2 v2", "q3 v3"]),
        ("hybrid3", 4, ["k0 k1", "q0 v0", "q1 v1", "k2 k3", "q2 q3", "v2 v3"]),
        ("hybrid4", 4, ["k0 k1", "q0 q1", "v0 v1", "k2 k3", "q2 v2", "q3 v3"]),
        ("hybrid5", 3, ["k0 k1 k2", "q0 q1", "v0 v1", "q2 v2"]),
    ],
)
def test_a_topology_gives_its_groups(topology, layers, groups):
    assert words(parse_topology(topology, model(layers, "qkvudg"))) == groups


def test_a_depth_that_the_cycle_does_not_divide_ends_with_smaller_groups():
    assert words(parse_topology("qq", model(3))) == ["q0 q1", "q2"]


@given(st.sampled_from(sorted(TOPOLOGIES)), st.integers(1, 9))
def test_every_block_is_in_one_group_at_most(topology, layers):
    groups = parse_topology(topology, model(layers))
    blocks = [block for group in groups for block in group]
    assert len(blocks) == len(set(blocks))
    named = set(TOPOLOGIES[topology]) & set("qkvougd")
    assert set(blocks) == {block for block in model(layers) if block.role in named}


def test_only_some_projections():
    assert words(only(parse_topology("qkv-ug", model(1)), "qk")) == ["k0 q0"]


def test_other_names_stand_in_braces():
    blocks = [Block(layer, "in_proj") for layer in range(2)]
    assert words(parse_topology("{in_proj}{in_proj}", blocks)) == ["in_proj0 in_proj1"]


def test_named_topologies_leave_out_what_a_model_lacks():
    assert words(parse_topology("svd-llm", model(1, "uod"))) == ["d0", "o0", "u0"]


@pytest.mark.parametrize(
    "topology, says",
    [
        ("qx", "names the projection 'x', and this model has d, g, k, o, q, u, v"),
        ("qqk", "joins projections that come round after different numbers of layers \\(q 2, k 1\\)"),
        ("q--k", "has an empty group"),
    ],
)
def test_what_is_no_topology_is_refused(topology, says):
    with pytest.raises(InputError, match=says):
        parse_topology(topology, model(2))
