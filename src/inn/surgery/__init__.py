"""Surgery: a new model made of a trained one, which stays as it is.

`collapse.collapse(model)` makes one neuron of identical ones. `communal.communal(model, rows, keep)` has the neurons
share what they read through. `upcycle.upcycle(folder)` makes a population of a pretrained Mamba.
"""
