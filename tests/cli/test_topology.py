"""`inn topology`: what it prints, and its JSON."""

from __future__ import annotations

import json


def test_topology_of_a_run(inn, trained):
    said = inn("topology", trained)
    assert said.code == 0
    assert "density" in said.out
    assert "since the start: no edge has changed" in said.out
    assert max(map(len, said.out.replace(str(trained), "").splitlines())) <= 80
    found = json.loads(inn("topology", trained, "--json").out)
    assert found["now"]["edges"] == round(found["now"]["density"] * found["neurons"] ** 2)
    assert found["before"] == found["now"]
