"""Using a trained model on a text: evaluation, scores by line, compression."""
