"""Training in several processes: who they are, how they share a model, and what they send one another."""
