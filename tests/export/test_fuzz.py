"""A short run of libFuzzer on a model in C; `make fuzz` runs long ones of every kind."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz.py")


@pytest.mark.slow
def test_damaged_weights_and_states_leave_a_model_within_its_arrays():
    asked = [sys.executable, str(SCRIPT), "last", "--runs", "2000", "--seconds", "5"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False)
    if ran.returncode == 77:
        pytest.skip(ran.stdout.strip())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing found" in ran.stdout
