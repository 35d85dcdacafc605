"""What a neuron remembers with: one file per kind, one protocol (`inn.Memory`)."""
