"""Surgery: a new model made of a trained one, which stays as it is.

Neurons as parts: `neurons.keep(model, neurons, rounds)` and `neurons.grow(model, n)` take neurons or rounds out and put
new neurons in, exactly (`neurons.concentrate(model)` has a mixture ask few before that); `organ.cut(model, neurons)`
gives an `Organ`, which is a file too, and `graft.graft(base, organ)` puts it into a model. `merge.merge(a, b)` makes
one model of several, side by side. `split.split(model)` puts hidden units, or neurons, into experts of which a few are
used. `states.carried(state, old, new)` takes a carried state along, `moments.carried_moments` those of an optimiser.

`generator.Generator(model, tasks)` learns which neurons a task needs, and cuts them out for any task and budget.

`learn_on.learn_on(model, stream)` learns one thing after another: an organ grows where nothing known fits.

`collapse.collapse(model)` makes one neuron of identical ones. `communal.communal(model, rows, keep)` has the neurons
share what they read through. `families.select_families(model, refit, error)` finds the family of functions that suits
each neuron's inner map. `upcycle.upcycle(folder)` makes a population of a pretrained Mamba.
"""
