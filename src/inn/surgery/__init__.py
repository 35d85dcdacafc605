"""Changing a trained graph: for now, collapsing a population of identical neurons."""

from inn.surgery.collapse import collapse

__all__ = ["collapse"]
