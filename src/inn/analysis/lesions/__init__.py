"""Lesions and patches: silence a part or replace its activity, and measure what that costs."""
