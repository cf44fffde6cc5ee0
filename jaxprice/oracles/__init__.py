"""Exact solutions: what the best seller would earn."""
