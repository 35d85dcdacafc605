"""Changing a trained graph into another, which is returned; the one that was given stays as it is.

`collapse.collapse(model)` makes one neuron of identical ones. `communal.communal(model, rows, keep)` has the neurons
share what they read through. `upcycle.upcycle(folder)` makes a population of a pretrained Mamba.
"""
