"""The machine: files, cache, device, provenance of results, and the error for bad input."""
