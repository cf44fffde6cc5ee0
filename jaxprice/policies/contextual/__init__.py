"""Contextual bandits: features of the buyer are seen before a price of a grid is posted."""
