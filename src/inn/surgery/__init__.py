"""Surgery: a new model made of a trained one, which stays as it is.

`collapse.collapse(model)` makes one neuron of identical ones. `communal.communal(model, rows, keep)` has the neurons
share what they read through. `families.select_families(model, refit, error)` finds the family of functions that suits
each neuron's inner map. `neurons.prune(model, ids)` and `neurons.extend(model, n)` take neurons out and put new ones
in; `neurons.concentrate(model)` has a mixture ask few before that. `upcycle.upcycle(folder)` makes a population of a
pretrained Mamba.
"""
