"""Tabular reinforcement learning: a table of values, for markets where today's price changes tomorrow's state."""
