"""Numbers in the README come from the results files."""

import json
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tables_of_the_readme_are_those_of_the_results():
    table = runpy.run_path(str(ROOT / "benchmarks" / "equal_parameters.py"))["table"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tables = re.findall(r"<!-- table: (\S+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert tables
    for name, shown in tables:
        assert shown == table(json.loads((ROOT / "results" / f"{name}.json").read_text()))
