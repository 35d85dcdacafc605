"""One folder for several sizes."""

import copy

import pytest
import torch

from inn.compress import compress, folder
from inn.compress.nested import FILE, at_size, nest, save, sizes_in
from inn.system.errors import InputError

from .conftest import TOKENS, llama, transformers


def opened(out):
    return transformers.AutoModelForCausalLM.from_pretrained(out).eval()


@pytest.mark.parametrize("plan", ["neurons", "auto", "svd-llm"])
def test_a_size_is_the_model_that_is_made_for_it(model, plan, tmp_path):
    if plan == "neurons" and type(model).__name__ == "MambaForCausalLM":
        return
    largest, out = copy.deepcopy(model), tmp_path / "folder"
    sizes = nest(largest, TOKENS, (1 / 3, 0.8, 0.5), plan)
    folder.save(largest, out)
    save(sizes, out)
    assert sizes_in(out) == [0.5, 1 / 3]
    assert torch.equal(opened(out)(TOKENS).logits, largest(TOKENS).logits)
    for size in (0.5, 1 / 3):
        small = copy.deepcopy(model)
        compress(small, TOKENS, plan, size, orders=sizes.outcome.orders)
        found = at_size(opened(out), out, size)
        assert torch.equal(found(TOKENS).logits, small(TOKENS).logits)
        assert [p.shape for p in found.parameters()] == [p.shape for p in small.parameters()]
        assert sum(map(torch.numel, found.parameters())) < sum(map(torch.numel, largest.parameters()))
        folder.save(found, tmp_path / f"{size:.1f}")
        assert torch.equal(opened(tmp_path / f"{size:.1f}")(TOKENS).logits, small(TOKENS).logits)
    own = sum(t.numel() for of in sizes.readers.values() for t in of.values())
    assert own < sum(map(torch.numel, model.parameters()))  # of two sizes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of three sizes, and the dense model."""
    dense = llama().eval()
    model, out = copy.deepcopy(dense), tmp_path_factory.mktemp("sizes") / "folder"
    sizes = nest(model, TOKENS, (1 / 3, 0.8, 0.5), "neurons")
    folder.save(model, out)
    save(sizes, out)
    return dense, out


def test_what_is_not_there_is_refused(made, tmp_path):
    dense, out = made
    with pytest.raises(InputError, match=r"no size 0.4; the smaller sizes that it has: 0.5, 0.333333"):
        at_size(opened(out), out, 0.4)
    with pytest.raises(InputError, match="none but its own"):
        at_size(opened(out), tmp_path, 0.5)
    with pytest.raises(InputError, match="of another model"):
        at_size(at_size(opened(out), out, 1 / 3), out, 0.5)
    with pytest.raises(InputError, match="of its own, not 'groups'; use plan 'auto' or 'neurons'"):
        nest(copy.deepcopy(dense), TOKENS, plan="groups")
    with pytest.raises(InputError, match="at 1 'd0' keeps all its neurons"):
        nest(copy.deepcopy(dense), TOKENS, (1.0, 0.5), "neurons")
    (tmp_path / FILE).write_bytes(b"not a file of tensors")
    with pytest.raises(InputError, match="cannot be read"):
        sizes_in(tmp_path)
