"""The page of a run: one HTML file that shows what the neurons do, without a network."""
