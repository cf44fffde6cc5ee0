"""Stochastic bandits: a grid of prices whose mean demand stays as it is."""
