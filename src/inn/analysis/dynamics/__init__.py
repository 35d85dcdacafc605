"""Dynamics: where a model's state goes when it is driven by noise, or left alone, with or without a lesion."""
