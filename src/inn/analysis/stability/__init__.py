"""Stability in time and depth, of any causal model: does it forget a disturbance, and how?"""
