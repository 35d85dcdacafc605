"""What the package brings keeps the contracts of INN."""

import pytest
from inn_gru import GRU, Left, Matrices, Star

from inn.testing import check_memory, check_router, check_topology


def test_the_memory():
    check_memory(GRU, update_bias=2.0)


@pytest.mark.parametrize("router", [Left, Matrices])
def test_the_routers(router):
    check_router(router)


def test_the_topology():
    check_topology(Star, hub=1)
