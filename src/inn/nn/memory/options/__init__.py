"""The options of the memories that come with the library, one file each; free of PyTorch, so that help need not wait."""
