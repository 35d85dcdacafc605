"""Text compression: an arithmetic coder driven by a model's predictions, and its files."""
