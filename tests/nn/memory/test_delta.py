"""The delta memory: contract, the published recurrence, the transitions that it can have."""

import pytest
import torch
import torch.nn.functional as F

import inn
from inn.nn.memory.delta import Delta
from inn.system.errors import InputError
from inn.testing import check_memory


def memory(**fields):
    torch.manual_seed(0)
    given = {"neurons": 3, "width": 8, "router": "none", "memory": "delta", **fields}
    return Delta(inn.graph_config(**given)).double()


@pytest.mark.parametrize(
    "options",
    [{}, {"heads": 4, "negative": False}, {"products": 2, "heads": 2}, {"forget": False, "conv": 1, "products": 3}],
)
def test_contract(options):
    check_memory("delta", **options)


@pytest.mark.parametrize(("negative", "decay", "products"), [(True, True, 1), (False, True, 2), (True, False, 2)])
def test_equals_the_published_recurrence(negative, decay, products):
    """Equation 10 of arXiv 2412.06464, and 2502.10297 for several writes, written out for one neuron."""
    options = {"heads": 2, "state": 3, "negative": negative, "forget": decay, "products": products}
    m = memory(neurons=1, memory_options=options)
    p = {name: v[0] for name, v in m.named_parameters()}
    H, K, V, E, n = 2, 3, 8, 16, products
    x, C = torch.randn(9, 8, dtype=torch.float64), 6 + n * 22
    u, z, b, a = (x @ p["in_proj.weight"].T).split((C, E, H * n, H * decay), -1)
    S = torch.zeros(H, V, K, dtype=torch.float64)
    zero = torch.zeros(C, dtype=torch.float64)
    for t in range(9):
        taps = [u[t - i] if t >= i else zero for i in (3, 2, 1, 0)]
        c = F.silu(sum(w * tap for w, tap in zip(p["conv_weight"].T, taps, strict=True)) + p["conv_bias"])
        y = []
        for h in range(H):
            for i in range(n):
                q, k = c[h * K : (h + 1) * K], c[6 + (i * H + h) * K :][:K]
                v = c[6 + n * 6 + (i * H + h) * V :][:V]
                q, k = q / (q @ q + 1e-6).sqrt(), k / (k @ k + 1e-6).sqrt()
                sigmoid = 1 / (1 + torch.exp(-b[t, i * H + h] - p["beta_bias"][i * H + h]))
                beta = (2 if negative else 1) * (1.2 * sigmoid - 0.1).clamp(0, 1)
                alpha = 1.0
                if decay and i == 0:
                    alpha = torch.exp(-p["A_log"][h].exp() * torch.log1p(torch.exp(a[t, h] + p["dt_bias"][h])))
                S[h] = alpha * S[h] @ (torch.eye(3) - beta * torch.outer(k, k)) + beta * torch.outer(v, k)
            y.append(S[h] @ q)
        y = p["out_proj.weight"] @ (torch.cat(y) * F.silu(z[t]))
        torch.testing.assert_close(m(x[None, :, None], m.initial_state(1))[0][0, t, 0], y)
    torch.testing.assert_close(m(x[None, :, None], m.initial_state(1))[1]["matrix"][0, 0], S.mT)


def test_a_heads_state_turns_over_only_with_a_beta_above_one():
    """The sign of what is kept under a key alternates: an eigenvalue of -1, which parity needs."""
    for negative, flips in ((True, True), (False, False)):
        m = memory(neurons=1, memory_options={"negative": negative, "forget": False, "conv": 1})
        with torch.no_grad():
            m.beta_bias.fill_(40.0)  # β is 2, or 1
            x = torch.randn(1, 1, 1, 8, dtype=torch.float64).expand(-1, 3, -1, -1)
            _, one = m(x[:, :1], m.initial_state(1))
            _, two = m(x[:, 1:2], one)
        shorter = two["matrix"].norm() < 1e-4 * one["matrix"].norm()  # 2 v kᵀ, and then nothing
        assert bool(shorter) == flips


def test_time_constants_and_sizes():
    m = memory(width=64, memory_options={"heads": 4}).float()
    x, state = torch.zeros(2, 5, 3, 64), m.initial_state(2)
    tau = m.time_constants(x, state)
    assert list(tau.shape) == [3, 4]
    assert tau.min() > 0.6
    assert tau.max() < 1001
    assert memory(memory_options={"forget": False}).time_constants(x.double(), state) is None
    ones = {**state, "matrix": torch.ones_like(state["matrix"])}
    assert torch.equal(m.sizes(ones), torch.ones(2, 3))


def test_heads_have_to_share_the_values_out():
    with pytest.raises(InputError, match="heads must divide the 16 values"):
        memory(memory_options={"heads": 3})
    with pytest.raises(InputError, match="products"):
        memory(memory_options={"products": 0})
