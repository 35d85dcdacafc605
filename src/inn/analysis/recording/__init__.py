"""Recording what runs: averages over a text, every symbol of a passage, stretches of a text."""
