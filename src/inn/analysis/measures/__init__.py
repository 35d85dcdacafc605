"""Pure functions from recordings to tables: roles, communities, what a neuron carries and how long."""
