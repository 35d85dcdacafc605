"""Who may hear whom: one file per kind, one protocol (`inn.Topology`)."""
