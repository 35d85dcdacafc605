"""The page that shows a run: one HTML file that opens from disk and needs no network."""

from inn.explorer.history import history
from inn.explorer.page import build_page
from inn.explorer.passage import read_passage

__all__ = ["build_page", "history", "read_passage"]
