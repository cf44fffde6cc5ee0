"""Parametric demand: a demand curve of known form with a few coefficients, which are learned from sales."""
