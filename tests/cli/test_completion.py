"""What a shell is told when the Tab key is pressed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("inn tra", {"train"}),
        ("inn train dem", {"demo"}),
        ("inn train demo --model.router.kind b", {"bus"}),
        ("inn generate --to", {"--tokens", "--top-k", "--top-p"}),
        ("inn train demo --model.kind nonsense --mod", set()),
    ],
)
def test_completion(line, expected):
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE": "1"}
    command = ["bash", "-c", '"$0" -m inn 8>&1 9>/dev/null', sys.executable]
    result = subprocess.run(
        command, env={**os.environ, **asked, "_ARGCOMPLETE_IFS": "\n"}, capture_output=True, text=True, check=True
    )
    assert {word.strip() for word in result.stdout.splitlines()} - {""} == expected
    assert result.stderr == ""
