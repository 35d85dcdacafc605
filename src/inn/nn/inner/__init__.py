"""Inner maps: what a neuron makes of its own numbers; one file per kind, one protocol (`inn.InnerMap`)."""
