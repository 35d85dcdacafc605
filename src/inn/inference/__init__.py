"""What a model makes of a text: scores, lines that stand out, texts as files in few bits."""
