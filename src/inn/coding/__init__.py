"""Text as small as a model's predictions make it: an arithmetic coder driven by a model, and its files."""

from inn.coding.text import Packed, compress, decompress, model_digest

__all__ = ["Packed", "compress", "decompress", "model_digest"]
