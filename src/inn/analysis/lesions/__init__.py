"""Lesions and patches: what a model can do without some of its parts, and what that costs."""
