"""Where everything that can be made again is kept: corpora, prepared arrays, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder: `INN_CACHE`, else the platform's own."""
    if given := os.environ.get("INN_CACHE"):
        return Path(given).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("inn")).expanduser()
