"""A model's step in arithmetic that gives the same bits on every machine: whole numbers, and + - x / in one order."""
