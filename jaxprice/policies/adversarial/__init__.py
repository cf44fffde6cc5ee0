"""Adversarial bandits: a grid of prices, and rewards that follow no law."""
