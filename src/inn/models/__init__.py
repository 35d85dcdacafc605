"""Models: the graph of neurons and the baselines it is compared with, behind one interface."""
