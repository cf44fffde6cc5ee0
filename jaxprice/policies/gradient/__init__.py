"""Continuous prices: search over an interval, by gradients or by zooming in, without a model of demand."""
