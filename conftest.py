"""What every test runs under, those in docstrings too: no network, one thread per worker, a cache of its own."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

# Commands that tests start are those of this checkout, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent / place) for place in ("src", "models/src", "studies/src", "benchmarks/src")]
    + list(filter(None, [os.environ.get("PYTHONPATH")]))
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in the commands that tests start

import pytest
import torch
from hypothesis import settings
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

from inn.system.cache import cache_dir

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported: its kernels are then run on the CPU
if find_spec("triton") is None:
    collect_ignore_glob = ["src/inn/ops/*_kernels.py"]  # no examples to run there, and they import it
torch.set_num_threads(1)  # pytest-xdist runs one worker per core
settings.register_profile("inn", deadline=None, max_examples=15, print_blob=True)
settings.load_profile("inn")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("loopback"):
        enable_socket()
        socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
    else:
        disable_socket(allow_unix_socket=True)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory):
    """Corpora are prepared into a folder of this test session, never into the user's cache.

    Compiled kernels are shared with it: they are named by all that they depend on, and take half a minute to build.
    """
    kernels = cache_dir() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("inn-cache")
    (folder / "kernels").symlink_to(kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INN_CACHE", str(folder))
        yield folder
