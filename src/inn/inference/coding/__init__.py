"""Text as small as a model's predictions make it: an arithmetic coder driven by a model, and its files."""
