"""The dispatcher: preference, refusal with a reason, and forcing a backend."""

import pytest

from inn.ops.dispatch import Backend, Op, use_backend
from inn.system.errors import InputError

OP = Op(
    "double",
    Backend("cpu", lambda x: ("cpu", 2 * x), refuses=lambda x: None if x > 0 else "x is not positive"),
    Backend("reference", lambda x: ("reference", x + x)),
)


def test_prefers_the_first_and_falls_back_with_a_reason():
    assert OP(3) == ("cpu", 6)
    assert OP(-3) == ("reference", -6)
    assert OP.choose(-3)[1] == {"cpu": "x is not positive"}


def test_forcing():
    with use_backend("reference"):
        assert OP(3) == ("reference", 6)
    with use_backend("cpu"), pytest.raises(InputError, match="x is not positive"):
        OP(-3)
    assert OP(3) == ("cpu", 6)
    with pytest.raises(InputError, match="did you mean 'torch'"), use_backend("torhc"):
        pass
