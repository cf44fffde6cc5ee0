"""Stochastic bandits: a grid of prices with constant mean demand."""
