"""Tabular reinforcement learning: a table of values, where today's price decides tomorrow's state."""
