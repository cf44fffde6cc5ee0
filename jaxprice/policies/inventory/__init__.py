"""Inventory: a limited stock that is to last for the season."""
