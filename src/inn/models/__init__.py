"""Every kind of model: the graph of neurons and its rivals, behind one interface."""
