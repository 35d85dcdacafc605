"""Topology files that other programs wrote, or damaged."""

import io

import numpy as np
import pytest

from inn.nn.topology.files import read_edges
from inn.system.errors import InputError


def packed(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


SPOILT = {
    "a NaN.csv": b"0,1,nan\n",
    "an adjacency with a NaN.csv": b"0,nan,0,0\n" + b"0,0,0,0\n" * 3,
    "a cell without end.csv": b"0," + b"1" * 200_000 + b"\n",
    "bytes.csv": b"\xff\xfe0,1\n",
    "an adjacency with a NaN.npz": packed(adjacency=np.array([[0, np.nan], [1, 0]])),
    "edges that are infinite.npz": packed(edges=np.array([[0, np.inf]])),
    "nothing.npz": b"",
    "half of one.npz": packed(edges=np.zeros((9, 2)))[:100],
    "another archive.npz": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(SPOILT[name])
    with pytest.raises(InputError, match=f"topology file '.*{name[:9]}"):
        read_edges(tmp_path / name)


def test_the_mark_of_a_spreadsheet_is_no_part_of_the_header(tmp_path):
    (tmp_path / "edges.csv").write_bytes(b"\xef\xbb\xbfto,from\r\n0,1\r\n")
    assert read_edges(tmp_path / "edges.csv") == ([[0, 1]], [])
