"""Run directories: checkpoints, exported folders, loading, listing, publishing."""
