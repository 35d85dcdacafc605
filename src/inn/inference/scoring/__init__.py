"""Bits per symbol of a text or a stream, line by line, and which lines are unusual."""
