"""The export `web`: one HTML file with a model inside, which reads, writes and loses neurons without a network."""
