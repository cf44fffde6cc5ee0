"""Contextual pricing: a personal price for each buyer, from a model of the willingness to pay given the features."""
