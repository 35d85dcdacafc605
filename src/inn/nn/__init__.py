"""The parts of a graph of neurons: population, memories, routers, readout, rounds, and the state they carry."""
