"""Recording a model while it reads: averages over a text, or every symbol of a passage."""
