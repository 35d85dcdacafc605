"""Mechanisms: the part of a model that computes a given thing, and the form in which its neurons do."""
