"""Controls: shuffled identities, untrained models, paired intervals."""
