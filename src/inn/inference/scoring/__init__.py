"""Bits per symbol of a stream of text, line by line, and which of its lines stand out."""
