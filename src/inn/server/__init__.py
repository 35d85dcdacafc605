"""Server: many streams of text from one model, a symbol of each at every step, asked for as OpenAI's clients ask."""
