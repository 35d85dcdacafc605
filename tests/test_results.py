"""Numbers in the README come from the results files."""

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tables_of_the_readme_are_those_of_the_results():
    tables = re.findall(
        r"<!-- table: (\S+) -->\n(.*?)\n<!-- end -->", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert tables
    for name, shown in tables:
        script = "speed" if name == "speed" else "equal_parameters"
        table = runpy.run_path(str(ROOT / "benchmarks" / f"{script}.py"))["table"]
        assert shown == table(json.loads((ROOT / "results" / f"{name}.json").read_text()))


def test_measured_speed_is_shown():
    if (ROOT / "results" / "speed.json").exists():
        assert "<!-- table: speed -->" in (ROOT / "README.md").read_text(encoding="utf-8")
