"""Where data are that nobody downloads: the folder that INN_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

from inn.system.errors import InputError


def data_file(name: str) -> Path:
    """A file of the folder INN_DATA; raises `InputError` where it is not there.

    Args:
        name: its path in the folder, `speech/spoken-digits.npz`.
    """
    folder = os.environ.get("INN_DATA")
    if not folder:
        raise InputError(f"'{name}' is looked for in the folder of data, and INN_DATA is not set; set it to the folder")
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(f"'{path}' is not there; put the file into the folder that INN_DATA names")
    return path
