"""Continuous prices: search over an interval without a model of demand, by gradients or by zooming."""
