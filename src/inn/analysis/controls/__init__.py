"""Controls: shuffled identities, untrained models, confidence intervals of paired differences."""
