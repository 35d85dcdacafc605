"""The options of the memories of the library, one file each; free of PyTorch, so that help need not wait for it."""
