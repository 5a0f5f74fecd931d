"""Distributions, and the numbers that they are drawn with."""
