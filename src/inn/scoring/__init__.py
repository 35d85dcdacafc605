"""Bits per symbol of a stream of text, line by line, and which of its lines stand out."""

from inn.scoring.lines import UNKNOWN_BITS, Line, LineScorer
from inn.scoring.source import score_lines
from inn.scoring.usual import STANDS_OUT

__all__ = ["STANDS_OUT", "UNKNOWN_BITS", "Line", "LineScorer", "score_lines"]
