"""Adversarial bandits: a grid of prices, and rewards without any distributional assumption."""
