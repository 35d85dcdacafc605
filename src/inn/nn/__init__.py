"""The parts of a graph of neurons: population, memory, router, readout, rounds, and the state they carry."""
