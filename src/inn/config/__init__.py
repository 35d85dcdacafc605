"""Configuration: the options as typed dataclasses with their defaults, recipes, and the command line's parser."""
