"""The page: what was collected of one run or two, as a single HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "data", "draw", "figure", "graph", "groups", "control", "board", "wiring", "passage", "rules",
    "neurons", "run", "app",
)  # fmt: skip
"""The page's JavaScript, in the order in which it is put together."""
_DIGITS = 4


def build_page(
    runs: Sequence[Mapping[str, Any]],
    *,
    made_with: str = "",
    play: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> str:
    """One self-contained HTML page that shows one run, or two side by side.

    Nothing of it is loaded from anywhere: style, script and data are inside, and its Content-Security-Policy allows no
    request and no script but its own, by hash. Texts are data; the script puts them in as text, never as markup.

    Args:
        runs: for each, `name`, `play` (the command that plays with it), and any of `passage` (`read_passage`), `survey`
            (`inn.analysis.overview`), `rules` (`inn.analysis.rules.runs`), `wiring` (`wiring_of`), `history`
            (`history`); what is missing or None is left out of the page. Numbers are kept to four digits.
        made_with: the command that made the page, shown at its end.
        play: where a person plays with the first run: `neurons`, how many there are, a `text` to begin with, and its
            `unit`. The page then asks the server that it came from, and nobody else (`inn.explorer.server`).
        model: JavaScript that builds the model of `play["model"]` on the page itself, which then asks nobody
            (`template/here.js` says what it is to define).

    >>> "<script>alert" in build_page([{"name": "<script>alert(1)</script>"}])
    False
    """
    data = {"runs": [_plain(dict(run)) for run in runs], "made_with": made_with, "play": play}
    scripts = [_template(f"{name}.js") for name in SCRIPTS]
    if model is not None:
        scripts += [model, _template("here.js")]
    if play is not None:
        scripts += [_template("share.js"), _template("play.js")]
    script, style = "\n".join(scripts), _template("style.css")
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    scripted = _hash(script) + ("" if model is None else " 'wasm-unsafe-eval'")  # WebAssembly needs leave, and no more
    asks = "'none'" if play is None or model is not None else "'self'"
    parts = {
        "title": html.escape(" and ".join(str(run["name"]) for run in runs)),
        "policy": f"default-src 'none'; img-src data: blob:; style-src {_hash(style)}; script-src {scripted}; "
        f"connect-src {asks}; base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "data": as_script_data(data),
    }
    # In one pass: what was put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _template("page.html"))


def as_script_data(value: Any) -> str:
    """JSON that may stand inside a `<script>`: ASCII, and without any character that HTML gives a meaning to.

    >>> as_script_data({"text": "</script> & co"})
    '{"text":"\\\\u003c/script\\\\u003e \\\\u0026 co"}'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """Plain data for JSON: floats to four digits, null for those that are no number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def _template(name: str) -> str:
    return (files("inn.explorer") / "template" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
