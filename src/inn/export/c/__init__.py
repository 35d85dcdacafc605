"""A program in C99, and the files round it."""
