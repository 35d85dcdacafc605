"""Two models side by side: which neuron of one is which of the other."""
