"""Building the C++ kernels: without a compiler, with a broken one, and by two processes at once."""

import os
import subprocess
import sys

import pytest

RUN = """
import warnings, torch
from inn.ops import selective_scan
args = [torch.randn(1, 2, 1, 3), torch.randn(1, 2, 1, 3), -torch.ones(1, 3, 2), torch.randn(1, 2, 1, 2),
        torch.randn(1, 2, 1, 2), torch.ones(1, 3), torch.randn(1, 2, 1, 3), torch.zeros(1, 1, 3, 2)]
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    selective_scan(*args)
    selective_scan(*args)
backend, reasons = selective_scan.choose(*args)
print(backend.name, len([w for w in seen if "kernels" in str(w.message)]), *reasons.values())
"""


def start(cache, **environment):
    env = {**os.environ, "INN_CACHE": str(cache), **environment}
    return subprocess.Popen([sys.executable, "-c", RUN], env=env, stdout=subprocess.PIPE, text=True)


def outcome(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return out.split(maxsplit=2)


def test_without_a_compiler_pytorch_does_the_work_and_one_line_says_so(tmp_path):
    name, warnings, reason = outcome(start(tmp_path, PATH=str(tmp_path), CXX=""))
    assert (name, warnings) == ("torch", "1")
    assert "no C++ compiler found; install g++" in reason


def test_a_broken_compiler_leaves_no_library(tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'error: it does not work'\nexit 1\n")
    broken.chmod(0o755)
    name, warnings, reason = outcome(start(tmp_path / "cache", CXX=str(broken)))
    assert (name, warnings) == ("torch", "1")
    assert "it does not work" in reason
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.slow
def test_two_processes_build_once(tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    assert [outcome(p)[:2] for p in both] == [["cpu", "0"], ["cpu", "0"]]
    assert len(list(tmp_path.rglob("*.so"))) == 1
    assert not list(tmp_path.rglob("build-*"))
