"""Inventory: a limited stock for a season."""
