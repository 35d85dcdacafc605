"""Trained models to try at once: runs in 8 bits, each with its card (`README.md`), that commands take by name.

`make models` trains and writes them; see `inn_studies.trained`.

>>> sorted(path.name for path in (text8, logs, digits))
['digits', 'logs', 'text8']
"""

from pathlib import Path

_HERE = Path(__file__).parent
text8, logs, digits = (_HERE / name for name in ("text8", "logs", "digits"))
