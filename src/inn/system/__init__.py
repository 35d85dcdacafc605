"""The machine underneath: files, cache, device, where a result comes from, and the one error for people."""
