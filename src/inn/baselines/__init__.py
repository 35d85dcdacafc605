"""The rivals of the graph of neurons: same interface, same trainer."""
