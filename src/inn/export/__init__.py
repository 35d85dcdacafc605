"""Exports: a trained model in the form of another program. The kinds are in `inn.registry.EXPORTS`."""

from inn.export.base import Export, export

__all__ = ["Export", "export"]
