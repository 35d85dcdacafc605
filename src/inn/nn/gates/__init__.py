"""Gates: what a neuron decides before it sends, or works at all; one file per kind, one protocol (`inn.Gate`)."""
