"""How neurons talk: one file per kind, one protocol (`inn.Router`)."""
