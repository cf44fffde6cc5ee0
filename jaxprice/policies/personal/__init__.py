"""Contextual pricing: personal prices from a model of what buyers with such features will pay."""
