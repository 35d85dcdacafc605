"""The benchmark: every row a ratio of two times that were measured in turns, in one process.

`rows.py` says what there is to measure and what each row must reach, `run.py` gives each row a process of its own,
`measure.py` has the clock; the other files hold the rows.
"""

from inn_benchmarks.rows import ROWS, Row
from inn_benchmarks.run import run_rows

__all__ = ["ROWS", "Row", "run_rows"]
